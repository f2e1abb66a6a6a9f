//! Local replies as clients get them.

mod grpc;

use proxy_wasm_runtime::{
    HeaderChange, Host, HttpStream,
    abi::{HeaderMap, LogLevel},
    hostcalls::LocalReply,
};

use crate::{
    nginx::{Nginx, Request},
    worker,
};

/// A reply that took the place of the response.
pub struct ResponseReply {
    /// That of the plugin context that gave it.
    pub lineage: u64,
    request: Request,
    /// What is to come of its body.
    pub body: Vec<u8>,
    /// The response's body was replaced, or the chunk of it that came first.
    pub is_placed: bool,
    /// What follows the body, in the place of the response's own trailers.
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl ResponseReply {
    /// Has a reply take the place of the response: its status and its headers. The body has no length that could be told, for it
    /// depends on the location's `body_filter_by_lua*` whether it is replaced.
    pub fn replace_response(request: Request, lineage: u64, reply: Box<LocalReply>) -> Self {
        let reply = for_client(request, reply);
        request.clear_response_headers();
        let status = reply.status.to_string();
        request.change_header(HeaderMap::ResponseHeaders, b":status", HeaderChange::Replace(status.as_bytes()));
        if !reply.body.is_empty() {
            request.change_header(HeaderMap::ResponseHeaders, b"content-type", HeaderChange::Replace(b"text/plain"));
        }
        add_headers(request, &reply);
        // By its length HTTP/2 knows that nothing comes after the headers.
        if is_grpc(request) && request.is_multiplexed() {
            request.tell_length(Some(0));
        }
        Self { lineage, request: request.without_body(), body: reply.body, is_placed: false, trailers: Vec::new() }
    }

    /// A reply that comes when the response has begun, and what takes the place of the rest of its body.
    pub fn replace_body(request: Request, lineage: u64, reply: LocalReply) -> (Self, Vec<u8>) {
        let (body, trailers) =
            if is_grpc(request) { (Vec::new(), grpc_status(&reply)) } else { (reply.body, Vec::new()) };
        (Self { lineage, request: request.without_body(), body: Vec::new(), is_placed: true, trailers }, body)
    }

    /// With the end of the response's body: its trailers are not the reply's.
    pub fn replace_trailers(&self) {
        self.request.clear_trailers();
        for (name, value) in &self.trailers {
            self.request.change_header(HeaderMap::ResponseTrailers, name, HeaderChange::Add(value));
        }
    }

    /// Says so when the response's own body was sent.
    pub fn report_other_body(&self) {
        let header = |map, name: &[u8]| self.request.header(map, name);
        let has_body = !self.request.is_head()
            && !matches!(header(HeaderMap::ResponseHeaders, b":status").as_deref(), Some(b"204" | b"304"));
        if has_body && !self.is_placed {
            let message = "the body of a local reply was not sent, but the response's own: \
                           body_filter_by_lua* has to call on_http_response_body with the plugin context that replied";
            Nginx.log(Some(&self.request), LogLevel::Error, message.as_bytes());
        }
    }
}

/// Adds the headers of a reply to a response that has none yet.
pub fn add_reply_headers(request: Request, reply: &LocalReply) {
    add_headers(request, reply);
    match (reply.status, reply.body.len()) {
        (204 | 300.., 0) => {}
        (_, length) => request.tell_length(Some(length as u64)),
    }
}

/// The reply in the form that the client understands: to a gRPC request it is one of trailers only, and with some statuses there
/// is no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
pub fn for_client(request: Request, mut reply: Box<LocalReply>) -> Box<LocalReply> {
    if is_grpc(request) {
        reply.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-type"));
        reply.headers.push((b"content-type".to_vec(), b"application/grpc".to_vec()));
        let status = grpc_status(&reply);
        reply.headers.extend(status);
        reply.status = 200;
        reply.body.clear();
    } else if has_no_body(&reply) {
        reply.body.clear();
    }
    reply
}

/// Whether a response with the reply's status never has a body, also none of nginx's own.
pub fn has_no_body(reply: &LocalReply) -> bool {
    matches!(reply.status, 204 | 205 | 304)
}

/// Adds the headers of a reply to the response, and remembers its details. How its body is framed is not the plugin's to say.
fn add_headers(request: Request, reply: &LocalReply) {
    if !reply.details.is_empty() {
        worker::with_properties(request, |properties| properties.code_details = Some(reply.details.as_slice().into()));
    }
    for (name, value) in reply.headers.iter().filter(|(name, _)| !is_framing(name)) {
        request.change_header(HeaderMap::ResponseHeaders, name, HeaderChange::Add(value));
    }
}

/// Pseudo-headers, and the length that is the body's.
fn is_framing(name: &[u8]) -> bool {
    name.starts_with(b":") || name.eq_ignore_ascii_case(b"content-length")
}

/// Whether the client expects gRPC. gRPC-Web is another protocol: its replies are ordinary ones.
fn is_grpc(request: Request) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let content_type = request.header(HeaderMap::RequestHeaders, b"content-type");
    content_type.is_some_and(|content_type| {
        content_type.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
            && matches!(content_type.get(TYPE.len()), None | Some(b'+' | b';' | b' ' | b'\t'))
    })
}

/// `grpc-status`, unless the plugin has set it itself, and `grpc-message`: the body, or with a status of gRPC's own the details.
fn grpc_status(reply: &LocalReply) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut headers = Vec::new();
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status")) {
        let status = if reply.grpc_status >= 0 { reply.grpc_status } else { grpc::status_of_http(reply.status) };
        headers.push((b"grpc-status".to_vec(), status.to_string().into_bytes()));
    }
    let message = if reply.body.is_empty() && reply.grpc_status >= 0 { &reply.details } else { &reply.body };
    if !message.is_empty() {
        headers.push((b"grpc-message".to_vec(), grpc::percent_encode(message)));
    }
    headers
}
