//! A request, checked when it is made.

use std::cell::RefCell;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Version};

use crate::body::{Body, Outgoing, Stream};
use crate::error::InvalidRequest;
use crate::machine::Protocol;
use crate::spelling::Spelling;

/// The longest path with its query, in bytes: what the `http` crate holds.
const LONGEST_PATH: usize = u16::MAX as usize - 1;

/// A request that can be sent over any connection. Clones share the body's bytes.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    scheme: Scheme,
    authority: Authority,
    path: PathAndQuery,
    headers: HeaderMap,
    /// Present when a name has upper case letters.
    spelling: Option<Spelling>,
    body: Body,
    trailers: Option<HeaderMap>,
}

/// A request as hyper takes it, and what belongs to it.
pub(crate) struct Outbound {
    pub(crate) request: http::Request<Outgoing>,
    pub(crate) spelling: Option<Spelling>,
    pub(crate) stream: Option<Rc<RefCell<Stream>>>,
}

impl Request {
    /// Checks all parts. The authority becomes the `host` header of HTTP/1.1. Headers keep their order within a name.
    ///
    /// The framing is the connection's own. These headers are dropped: `connection`, `content-length`, `host`,
    /// `keep-alive`, `proxy-connection`, `transfer-encoding`, `upgrade`; `te` unless it is `trailers`; `trailer` when the
    /// body has trailers, for which one is made over HTTP/1.1. Header values lose the blanks around them, which are no part
    /// of a value (RFC 9110 §5.5). When a name has upper case letters, HTTP/1.1 carries all names as they are spelled here.
    ///
    /// # Errors
    ///
    /// The first part that breaks a rule.
    pub fn new(
        method: &[u8],
        scheme: &str,
        authority: &[u8],
        path: &[u8],
        headers: &[(&[u8], &[u8])],
        body: Body,
    ) -> Result<Self, InvalidRequest> {
        let authority = parse_authority(authority)?;
        let trailers = parse_trailers(&body)?;
        let (headers, spelling) = parse_headers(&authority, headers, trailers.is_some())?;
        Ok(Self {
            method: parse_method(method)?,
            scheme: parse_scheme(scheme)?,
            authority,
            path: parse_path(path)?,
            headers,
            spelling,
            body,
            trailers,
        })
    }

    /// Asks for another authority, which is the `host` header of HTTP/1.1 too, by another scheme.
    ///
    /// # Errors
    ///
    /// When one of them breaks a rule; the request is as it was then.
    pub fn set_authority(&mut self, scheme: &str, authority: &[u8]) -> Result<(), InvalidRequest> {
        let (scheme, authority) = (parse_scheme(scheme)?, parse_authority(authority)?);
        self.headers.insert(header::HOST, host_header(&authority)?);
        (self.scheme, self.authority) = (scheme, authority);
        Ok(())
    }

    pub(crate) fn outbound(self, protocol: Protocol) -> Outbound {
        let mut request = http::Request::new(());
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(self.path);
        if protocol == Protocol::Http2 {
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::HOST);
            uri.scheme = Some(self.scheme);
            uri.authority = Some(self.authority);
        }
        *request.uri_mut() = Uri::from_parts(uri).expect("each part was checked");

        let mut stream = None;
        let body = match self.body {
            Body::Whole { bytes, .. } => Outgoing::Whole { bytes, trailers: self.trailers },
            Body::Streamed => {
                let stream: &mut Rc<RefCell<Stream>> = stream.insert(Rc::default());
                Outgoing::Streamed { stream: stream.clone(), begun: false }
            }
        };
        if protocol == Protocol::Http1 {
            frame_http1(&mut request, &body);
        }
        Outbound { request: request.map(|()| body), spelling: self.spelling, stream }
    }
}

/// Adds the headers that hyper leaves out: it takes a body of unknown length for none if the method seldom has one, sends no
/// trailers that are not announced, and says nothing of an empty body (RFC 9110 §8.6 wants that for some methods).
fn frame_http1(request: &mut http::Request<()>, body: &Outgoing) {
    match body {
        Outgoing::Whole { bytes, trailers: None } => {
            let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
            if bytes.is_empty() && expects_body {
                request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Outgoing::Whole { trailers: Some(trailers), .. } => {
            let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
            let names = HeaderValue::from_str(&names.join(", ")).expect("names are valid values");
            request.headers_mut().insert(header::TRAILER, names);
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Outgoing::Streamed { .. } => {
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

fn parse_method(method: &[u8]) -> Result<Method, InvalidRequest> {
    match Method::from_bytes(method) {
        Ok(Method::CONNECT) => Err(InvalidRequest::Connect),
        Ok(method) => Ok(method),
        Err(_) => Err(InvalidRequest::Method(escape(method))),
    }
}

fn parse_scheme(scheme: &str) -> Result<Scheme, InvalidRequest> {
    match scheme {
        "http" => Ok(Scheme::HTTP),
        "https" => Ok(Scheme::HTTPS),
        _ => Err(InvalidRequest::Scheme(escape(scheme.as_bytes()))),
    }
}

fn parse_authority(authority: &[u8]) -> Result<Authority, InvalidRequest> {
    match Authority::try_from(authority) {
        Ok(parsed) if !authority.contains(&b'@') && !parsed.host().is_empty() => Ok(parsed),
        _ => Err(InvalidRequest::Authority(escape(authority))),
    }
}

fn parse_path(path: &[u8]) -> Result<PathAndQuery, InvalidRequest> {
    let is_target = path.starts_with(b"/") || path == b"*";
    let is_plain = path.len() <= LONGEST_PATH && !path.contains(&b'#');
    match PathAndQuery::try_from(path) {
        Ok(parsed) if is_target && is_plain => Ok(parsed),
        _ => Err(InvalidRequest::Path(escape(path))),
    }
}

fn parse_headers(
    authority: &Authority,
    headers: &[(&[u8], &[u8])],
    has_trailers: bool,
) -> Result<(HeaderMap, Option<Spelling>), InvalidRequest> {
    let too_many = || InvalidRequest::TooManyHeaders(headers.len());
    let mut parsed = HeaderMap::try_with_capacity(headers.len() + 2).map_err(|_| too_many())?;
    parsed.insert(header::HOST, host_header(authority)?);
    let mut spelling = headers.iter().any(|(name, _)| name.iter().any(u8::is_ascii_uppercase)).then(Spelling::default);
    if let Some(spelling) = &mut spelling {
        spelling.append(&header::HOST, b"Host").ok_or_else(too_many)?;
    }
    for (spelled, value) in headers {
        let (name, value) = parse_header(spelled, value)?;
        if is_dropped(&name, &value, has_trailers) {
            continue;
        }
        if let Some(spelling) = &mut spelling {
            spelling.append(&name, spelled).ok_or_else(too_many)?;
        }
        parsed.try_append(name, value).map_err(|_| too_many())?;
    }
    Ok((parsed, spelling))
}

fn host_header(authority: &Authority) -> Result<HeaderValue, InvalidRequest> {
    HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidRequest::Authority(authority.to_string()))
}

fn parse_trailers(body: &Body) -> Result<Option<HeaderMap>, InvalidRequest> {
    let Body::Whole { trailers, .. } = body else { return Ok(None) };
    let mut parsed = HeaderMap::new();
    for (name, value) in trailers {
        let (name, value) = parse_header(name, value)?;
        if !is_barred_from_trailers(&name) {
            parsed.try_append(name, value).map_err(|_| InvalidRequest::TooManyHeaders(trailers.len()))?;
        }
    }
    Ok((!parsed.is_empty()).then_some(parsed))
}

fn parse_header(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), InvalidRequest> {
    let parsed = HeaderName::from_bytes(name).map_err(|_| InvalidRequest::HeaderName(escape(name)))?;
    match HeaderValue::from_bytes(value.trim_ascii()) {
        Ok(value) => Ok((parsed, value)),
        Err(_) => Err(InvalidRequest::HeaderValue { name: escape(name), value: escape(value) }),
    }
}

fn is_dropped(name: &HeaderName, value: &HeaderValue, has_trailers: bool) -> bool {
    match *name {
        header::TE => !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        header::TRAILER => has_trailers,
        _ => is_of_connection(name),
    }
}

fn is_of_connection(name: &HeaderName) -> bool {
    let known = [header::CONNECTION, header::CONTENT_LENGTH, header::HOST, header::TRANSFER_ENCODING, header::UPGRADE];
    known.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// What hyper and RFC 9110 §6.5.1 do not let into trailers.
fn is_barred_from_trailers(name: &HeaderName) -> bool {
    let barred = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::MAX_FORWARDS,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
    ];
    is_of_connection(name) || barred.contains(name)
}

/// Readable, whatever the bytes are.
fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
