//! From what a guest asks for to what is sent, and where.

use std::time::Duration;

use bytes::Bytes;
use callout_client::{Body, InvalidRequest, Protocol, Request, grpc};
use proxy_wasm_runtime::{
    callout::{Callout, GrpcCall, HttpCall, Refusal},
    context::Options,
};

use super::{answer::Answer, target::Target};

/// A callout that can be sent.
pub struct Prepared {
    pub target: Target,
    /// Said by the guest; else the upstream says it.
    pub is_encrypted: Option<bool>,
    pub protocol: Protocol,
    /// What the server is to prove that it is.
    pub server_name: String,
    pub request: Request,
    /// The guest did not say what the server is called: it has the upstream's name.
    pub is_named_by_upstream: bool,
    pub answer: Answer,
    pub timeout: Option<Duration>,
    /// Nothing happens twice when it is sent twice.
    pub is_idempotent: bool,
    pub is_stream: bool,
    /// For the log.
    pub method: String,
    /// For the log.
    pub uri: String,
}

impl Prepared {
    /// Sends it to `server` instead of the host that the upstream's name would be.
    ///
    /// # Errors
    /// When the server's authority is none.
    pub fn set_server(&mut self, server: Server) -> Result<(), InvalidRequest> {
        let is_encrypted = *self.is_encrypted.get_or_insert(server.is_encrypted);
        if self.is_named_by_upstream {
            let scheme = if is_encrypted { "https" } else { "http" };
            self.request.set_authority(scheme, server.authority.as_bytes())?;
            let host =
                Target::parse(server.authority.as_bytes()).map_or(server.target.host.clone(), |named| named.host);
            self.server_name = host.trim_matches(['[', ']']).to_owned();
        }
        if server.is_http2 {
            self.protocol = Protocol::Http2;
        }
        self.target = server.target;
        Ok(())
    }
}

/// What an upstream's name stands for, when it is no host's.
pub struct Server {
    pub target: Target,
    /// What it is called.
    pub authority: String,
    /// Unless the guest said otherwise.
    pub is_encrypted: bool,
    pub is_http2: bool,
}

/// # Errors
/// When it can't be sent; the message says what is wrong.
pub fn prepare(callout: Callout, options: &Options) -> Result<Prepared, Refusal> {
    match callout {
        Callout::Http(call) => prepare_http(call, options),
        Callout::Grpc(call) => prepare_grpc(call, options),
    }
}

fn prepare_http(call: HttpCall, options: &Options) -> Result<Prepared, Refusal> {
    let target = parse_target("http", &call.upstream, options)?;
    let pseudo = |name: &[u8]| call.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice());
    let host =
        || call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host")).map(|(_, value)| value.as_slice());
    let method = pseudo(b":method").unwrap_or(b"GET");
    let is_encrypted = match pseudo(b":scheme") {
        None | Some(b"http") => false,
        Some(b"https") => true,
        Some(other) => {
            let scheme = other.escape_ascii();
            return Err(Refusal::BadArgument(format!("invalid :scheme \"{scheme}\": it must be http or https")));
        }
    };
    let scheme = if is_encrypted { "https" } else { "http" };
    let path = pseudo(b":path").unwrap_or(b"/");
    let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
    let given_authority = pseudo(b":authority").or_else(host);
    let authority = given_authority.unwrap_or_else(|| default_authority(&target, &call.upstream));
    let is_sent = |name: &[u8]| {
        !matches!(name, b":method" | b":scheme" | b":path" | b":authority") && !name.eq_ignore_ascii_case(b"host")
    };
    let headers: Vec<(&[u8], &[u8])> =
        call.headers.iter().filter(|(name, _)| is_sent(name)).map(|(name, value)| (&name[..], &value[..])).collect();
    let body = Body::Whole { bytes: Bytes::from(call.body), trailers: call.trailers };
    let request = Request::new(method, scheme, authority, &path, &headers, body).map_err(bad_argument)?;
    let protocol = if options.callout_http2.contains(&call.upstream) { Protocol::Http2 } else { Protocol::Http1 };
    Ok(Prepared {
        server_name: server_name(&target, given_authority),
        is_named_by_upstream: given_authority.is_none(),
        is_encrypted: pseudo(b":scheme").map(|_| is_encrypted),
        protocol,
        request,
        answer: Answer::http(options.callout_response_size),
        timeout: call.timeout,
        is_idempotent: matches!(method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE"),
        is_stream: false,
        method: String::from_utf8_lossy(method).into_owned(),
        uri: uri(scheme, &call.upstream, pseudo(b":path").map_or(&[][..], |_| &path)),
        target,
    })
}

fn prepare_grpc(call: GrpcCall, options: &Options) -> Result<Prepared, Refusal> {
    let target = parse_target("grpc", &call.upstream, options)?;
    let scheme = if call.is_encrypted == Some(true) { "https" } else { "http" };
    let authority = call.authority.as_deref().unwrap_or_else(|| default_authority(&target, &call.upstream));
    let metadata: Vec<(&[u8], &[u8])> = call.metadata.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let is_call = call.message.is_some();
    let body = match call.message {
        Some(message) => Body::Whole { bytes: grpc::encode(&message), trailers: Vec::new() },
        None => Body::Streamed,
    };
    let request = grpc::request(scheme, authority, &call.service, &call.method, &metadata, call.timeout, body);
    let path = [b"/", &call.service[..], b"/", &call.method].concat();
    Ok(Prepared {
        server_name: server_name(&target, call.authority.as_deref()),
        is_named_by_upstream: call.authority.is_none(),
        is_encrypted: call.is_encrypted,
        protocol: Protocol::Http2,
        request: request.map_err(bad_argument)?,
        answer: Answer::grpc(is_call, options.callout_response_size),
        timeout: call.timeout,
        is_idempotent: false,
        is_stream: !is_call,
        method: "POST".to_owned(),
        uri: uri(scheme, &call.upstream, &path),
        target,
    })
}

fn bad_argument(error: impl std::fmt::Display) -> Refusal {
    Refusal::BadArgument(error.to_string())
}

fn parse_target(kind: &str, upstream: &[u8], options: &Options) -> Result<Target, Refusal> {
    let named = || String::from_utf8_lossy(upstream);
    let target = Target::parse(upstream)
        .ok_or_else(|| Refusal::BadArgument(format!("{kind} call gets invalid host: {}", named())))?;
    if options.callout_upstreams.is_none() && target.is_reserved() {
        return Err(Refusal::Failed(format!(
            "plugin {:?} may not ask {:?}: a unix socket, a link-local address or a metadata service has to be named by callout_upstreams",
            options.name,
            named()
        )));
    }
    Ok(target)
}

fn default_authority<'a>(target: &Target, upstream: &'a [u8]) -> &'a [u8] {
    if target.is_unix() { b"localhost" } else { upstream }
}

/// The upstream's own name; where that is an address, the host that the guest asks for.
fn server_name(target: &Target, authority: Option<&[u8]>) -> String {
    let named = authority.and_then(Target::parse).filter(|_| !target.is_named());
    let host = named.map_or_else(|| target.host.clone(), |named| named.host);
    host.trim_matches(['[', ']']).to_owned()
}

fn uri(scheme: &str, upstream: &[u8], path: &[u8]) -> String {
    format!("{scheme}://{}{}", String::from_utf8_lossy(upstream), String::from_utf8_lossy(path))
}
