//! A plugin's properties: Envoy's attributes, nginx's variables, and what plugins set for one another.

mod certificate;
mod store;
#[allow(dead_code, reason = "names and notes are for docs/properties.md")]
mod table;

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use proxy_wasm_runtime::{
    HttpStream,
    abi::{HeaderMap, pairs::Pair, property::Value},
};
use smallvec::SmallVec;

use super::{
    headers::{self, response},
    log, lua_api,
    request::Request,
    symbols::Symbols,
    variables,
};
use crate::worker;
use table::{Attribute, Headers, Source, Type};

pub use store::Properties;

/// Before the name of a variable: `ngx.VAR`.
const VARIABLE: &[u8] = b"ngx\0";

/// The property at `path`: an attribute, `ngx.VAR`, what a plugin set, or a variable by its bare name.
pub fn get<'a>(request: &'a Request, path: &[u8]) -> Option<Value<'a>> {
    if let Some(value) = table::find(path).and_then(|(attribute, member)| attribute_value(request, attribute, member)) {
        return Some(value);
    }
    if let Some(name) = path.strip_prefix(VARIABLE) {
        return variable(request, name).map(Value::Bytes);
    }
    let set = worker::with_properties(*request, |properties| properties.get(path).map(<[u8]>::to_vec)).flatten();
    set.map(Value::from).or_else(|| variable(request, path).map(Value::Bytes))
}

/// The value of a variable. nginx keeps the value of one that its configuration uses, so that those which headers make up are
/// read from the headers: else nginx would not see what plugins make of them later.
fn variable<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let lowercase = SmallVec::<[u8; 64]>::from_iter(name.iter().map(u8::to_ascii_lowercase));
    let response_header = |name: &[u8]| {
        let dashes = SmallVec::<[u8; 64]>::from_iter(name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }));
        request.header(HeaderMap::ResponseHeaders, &dashes)
    };
    match &*lowercase {
        b"content_type" => headers::request::get(request, b"content-type"),
        b"content_length" => headers::request::content_length(request).map(Cow::from),
        b"remote_user" => headers::request::basic_user(request).map(Cow::from),
        [b'h', b't', b't', b'p', b'_', name @ ..] => headers::request::get_by_variable(request, name),
        [b's', b'e', b'n', b't', b'_', b'h', b't', b't', b'p', b'_', name @ ..] => response_header(name),
        _ => variables::read(request, name).map(Cow::from),
    }
}

/// Sets a variable, or what later plugins of the request find at `path`. What is refused is logged.
pub fn set(request: Request, path: &[u8], value: &[u8]) {
    if table::find(path).is_some() {
        return log::error(request, format_args!("property {} can't be set: it is an attribute", show(path)));
    }
    let variable = path.strip_prefix(VARIABLE);
    let name = variable.unwrap_or(path);
    let result = match invalid_byte(name, value) {
        None => variables::set(request, name, value),
        Some(byte) => refuse(request, name, byte),
    };
    match result {
        Ok(()) if name.eq_ignore_ascii_case(b"args") => headers::request::follow_query(request, value),
        Ok(()) => {}
        Err(refused) if refused.is_unknown && variable.is_none() => keep(request, path, value),
        Err(refused) => log::error(request, format_args!("{}", refused.reason)),
    }
}

/// The first byte that a variable can't have: a control character anywhere, and a blank where the variable becomes a part of a
/// request's target.
fn invalid_byte(name: &[u8], value: &[u8]) -> Option<u8> {
    const TARGETS: &[&[u8]] = &[b"args", b"query", b"query_string", b"uri", b"url", b"path"];
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    let found = value.iter().copied().find(|byte| is_control(*byte));
    found.or_else(|| {
        let blank = value.iter().copied().find(|byte| matches!(byte, b' ' | b'\t'))?;
        let name = name.to_ascii_lowercase();
        TARGETS.iter().any(|target| name.ends_with(target)).then_some(blank)
    })
}

/// Refuses a value, if there is a variable of the name: anything else is the plugins' own.
fn refuse(request: Request, name: &[u8], byte: u8) -> Result<(), variables::Refused> {
    // One without a value may be there nevertheless, and nothing is lost if it gets an empty one.
    if variables::read(&request, name).is_none() {
        variables::set(request, name, b"")?;
    }
    let reason = format!("variable \"{}\" can't be set: invalid char \"{byte}\"", name.escape_ascii());
    Err(variables::Refused { is_unknown: false, reason })
}

fn keep(request: Request, path: &[u8], value: &[u8]) {
    match worker::with_properties(request, |properties| properties.set(path, value)) {
        Some(true) => {}
        Some(false) => {
            let (size, largest) = (path.len() + value.len(), store::LARGEST);
            let path = show(path);
            log::error(
                request,
                format_args!(
                    "property {path} of {size} bytes is not kept: those of a request have {largest} bytes in all"
                ),
            );
        }
        None => log::error(request, format_args!("property {} is not kept: the request has ended", show(path))),
    }
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).replace('\0', ".")
}

fn attribute_value<'a>(request: &'a Request, attribute: &Attribute, member: Option<&[u8]>) -> Option<Value<'a>> {
    let typed = |text: &'a [u8]| typed(text, attribute.ty);
    match attribute.source {
        Source::Plugin => None,
        Source::Variable(name) => typed(text(request, name)?),
        Source::VariableOr(name, default) => typed(text(request, name).unwrap_or(default.as_bytes())),
        Source::BodySize => {
            typed(headers::request::content_length(request).filter(|size| !size.is_empty()).unwrap_or(b"0"))
        }
        Source::GrpcStatus => grpc_status(request),
        Source::Last(name) => typed(elements(text(request, name)?).last()?),
        Source::Count(name) => Some(Value::Uint(text(request, name).map_or(0, |text| elements(text).count() as u64))),
        Source::LastAddress(name) => last_address(request, name).map(Value::from),
        Source::LastPort(name) => typed(port(last_address(request, name)?)?),
        Source::Address(ip, port) => Some(address(text(request, ip)?, text(request, port))),
        Source::Header(name) => {
            let value = headers::request::get(request, name.as_bytes()).filter(|value| !value.is_empty());
            value.map(Value::Bytes)
        }
        Source::UrlPath => request.header(HeaderMap::RequestHeaders, b":path").map(without_query),
        Source::Protocol => Some(protocol(text(request, "server_protocol")?)),
        Source::StartTime => Some(Value::Timestamp(start_time(*request))),
        Source::Elapsed => Some(Value::Duration((now() - start_time(*request)).max(0))),
        Source::Status => response::status_code(*request).map(|status| Value::Int(status.into())),
        Source::CodeDetails => code_details(request),
        Source::Headers(map) => match member {
            Some(name) => joined_header(headers_of(request, map)?, name).map(Value::Bytes),
            None => Some(Value::Map(joined(headers_of(request, map)?))),
        },
        Source::HeadersSize(map) => Some(Value::Int(headers_size(&headers_of(request, map)?))),
        Source::ClientCertificate(part) => certificate::of_client(request, part),
        Source::Apisix(name) => apisix(request, name),
        Source::Constant(number) => Some(Value::Int(number)),
    }
}

/// The value of a variable that is not empty.
fn text<'a>(request: &'a Request, variable: &str) -> Option<&'a [u8]> {
    variables::read(request, variable.as_bytes()).filter(|value| !value.is_empty())
}

/// The value that nginx wrote out as text.
fn typed(text: &[u8], ty: Type) -> Option<Value<'_>> {
    let number = || std::str::from_utf8(text).ok();
    match ty {
        Type::String => Some(Value::from(text)),
        Type::Int => number()?.parse().ok().map(Value::Int),
        Type::Uint => number()?.parse().ok().map(Value::Uint),
        Type::Duration => number()?.parse().ok().map(|seconds: f64| Value::Duration((seconds * 1e9).round() as i64)),
        Type::Bool | Type::Timestamp | Type::Map => None,
    }
}

/// The elements of a variable that has one for each upstream: `1.1.1.1:80, 2.2.2.2:80 : 3.3.3.3:80`, with a colon where
/// the request was redirected inside of nginx.
fn elements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = text.split(|byte| *byte == b' ').map(|word| word.strip_suffix(b",").unwrap_or(word));
    words.filter(|word| !word.is_empty() && *word != b":")
}

/// When no upstream could be asked, nginx gives the name of their group instead, which is no address.
fn last_address<'a>(request: &'a Request, variable: &str) -> Option<&'a [u8]> {
    let last = elements(text(request, variable)?).last()?;
    (last.starts_with(b"unix:") || port(last).is_some()).then_some(last)
}

fn port(address: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memrchr(b':', address)?;
    let port = &address[colon + 1..];
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(port)
}

fn address<'a>(ip: &'a [u8], port: Option<&[u8]>) -> Value<'a> {
    match port {
        Some(port) if ip.contains(&b':') => Value::from([b"[", ip, b"]:", port].concat()),
        Some(port) => Value::from([ip, b":", port].concat()),
        None => Value::from(ip),
    }
}

fn without_query(path: Cow<'_, [u8]>) -> Value<'_> {
    let end = memchr::memchr(b'?', &path).unwrap_or(path.len());
    match path {
        Cow::Borrowed(path) => Value::from(&path[..end]),
        Cow::Owned(mut path) => {
            path.truncate(end);
            Value::from(path)
        }
    }
}

fn protocol(version: &[u8]) -> Value<'_> {
    Value::from(match version {
        b"HTTP/2.0" => b"HTTP/2",
        b"HTTP/3.0" => b"HTTP/3",
        version => version,
    })
}

/// In nanoseconds since 1970.
fn start_time(request: Request) -> i64 {
    // SAFETY: the request lives.
    let seconds = unsafe { (Symbols::get().ngx_http_lua_ffi_req_start_time)(request.as_ptr()) };
    (seconds * 1e3).round() as i64 * 1_000_000
}

/// In nanoseconds since 1970. Not nginx's own time, which stands still while plugins run.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

fn grpc_status(request: &Request) -> Option<Value<'_>> {
    let of_map = |map| request.header(map, b"grpc-status").filter(|status| !status.is_empty());
    let sent = of_map(HeaderMap::ResponseHeaders).or_else(|| of_map(HeaderMap::ResponseTrailers));
    let status = sent.or_else(|| text(request, "upstream_trailer_grpc_status").map(Cow::from))?;
    std::str::from_utf8(&status).ok()?.parse().ok().map(Value::Int)
}

fn code_details(request: &Request) -> Option<Value<'_>> {
    let details = worker::with_properties(*request, |properties| properties.code_details.clone()).flatten();
    if let Some(details) = details {
        return Some(Value::from(details.into_vec()));
    }
    // A number when the upstream sent its headers.
    let last = elements(text(request, "upstream_header_time")?).last()?;
    (last != b"-").then_some(Value::from(&b"via_upstream"[..]))
}

/// The headers of a map; `None` when there are none yet.
fn headers_of(request: &Request, map: Headers) -> Option<Vec<Pair<'_>>> {
    let map = match map {
        Headers::Request => HeaderMap::RequestHeaders,
        // Some have a value before there is a response.
        Headers::Response => response::status_code(*request).map(|_| HeaderMap::ResponseHeaders)?,
        Headers::Trailers => HeaderMap::ResponseTrailers,
    };
    Some(request.headers(map)).filter(|headers| !headers.is_empty())
}

/// Each name once, in alphabetical order.
fn joined(mut headers: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers.dedup_by(|(name, value), (kept_name, kept)| {
        let is_same = name == kept_name;
        if is_same {
            append(kept, value);
        }
        is_same
    });
    headers
}

fn joined_header<'a>(headers: Vec<Pair<'a>>, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let values = headers.into_iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    values.reduce(|mut kept, value| {
        append(&mut kept, &value);
        kept
    })
}

fn append(values: &mut Cow<'_, [u8]>, value: &[u8]) {
    let values = values.to_mut();
    values.push(b',');
    values.extend_from_slice(value);
}

fn headers_size(headers: &[Pair<'_>]) -> i64 {
    headers.iter().map(|(name, value)| (name.len() + value.len()) as i64).sum()
}

/// What APISIX says, now or when it could be asked last.
fn apisix<'a>(request: &Request, name: &'static str) -> Option<Value<'a>> {
    let said = match lua_api::apisix_attribute(*request, name) {
        Some(said) => {
            worker::with_properties(*request, |properties| properties.set_apisix(name, &said));
            said
        }
        None => worker::with_properties(*request, |properties| properties.apisix(name).map(<[u8]>::to_vec))??,
    };
    Some(said).filter(|said| !said.is_empty()).map(Value::from)
}
