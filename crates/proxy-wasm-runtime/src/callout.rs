//! What guests ask other servers, and what comes back.

use std::{borrow::Cow, time::Duration};

use thiserror::Error;

use crate::abi::Status;
pub use crate::abi::pairs::Headers;

/// What a guest asks the proxy to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callout {
    /// `proxy_http_call`
    Http(HttpCall),
    /// `proxy_grpc_call` and `proxy_grpc_stream`
    Grpc(GrpcCall),
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// Whom to ask, as the guest names it.
    pub upstream: Vec<u8>,
    /// With `:method`, `:scheme`, `:path`, `:authority`, all of which may be missing.
    pub headers: Headers,
    /// May be empty.
    pub body: Vec<u8>,
    /// May be empty.
    pub trailers: Headers,
    /// For the whole call; `None` for the proxy's own timeouts.
    pub timeout: Option<Duration>,
}

/// A gRPC call with one message, or a stream of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    /// Whom to ask, as the guest names it.
    pub upstream: Vec<u8>,
    /// The connection is encrypted; `None` when the guest does not say.
    pub is_encrypted: Option<bool>,
    /// What the upstream is to be called, if not by its name.
    pub authority: Option<Vec<u8>>,
    /// The full name of the service.
    pub service: Vec<u8>,
    /// The method's name.
    pub method: Vec<u8>,
    /// What goes along with the call; values of names that end in `-bin` are base64 already.
    pub metadata: Headers,
    /// The message of a call; `None` for a stream.
    pub message: Option<Vec<u8>>,
    /// For the whole call; `None` without a limit.
    pub timeout: Option<Duration>,
}

impl Callout {
    /// Whom to ask, as the guest names it.
    pub fn upstream(&self) -> &[u8] {
        match self {
            Self::Http(call) => &call.upstream,
            Self::Grpc(call) => &call.upstream,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Http(_) => Kind::Http,
            Self::Grpc(GrpcCall { message: Some(_), .. }) => Kind::GrpcCall,
            Self::Grpc(_) => Kind::GrpcStream,
        }
    }
}

/// What a callout is to its guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    GrpcCall,
    GrpcStream,
}

impl Kind {
    /// For metrics.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::GrpcCall => "grpc",
            Self::GrpcStream => "stream",
        }
    }

    /// What is told of a callout that the host gives up.
    pub fn cancelled(self) -> Event {
        match self {
            Self::Http => Event::HttpFailure(HttpFailure { reason: "cancelled", message: "cancelled".to_owned() }),
            Self::GrpcCall | Self::GrpcStream => {
                Event::GrpcClose { status: GRPC_CANCELLED, message: "cancelled".to_owned() }
            }
        }
    }
}

/// `CANCELLED` of gRPC.
const GRPC_CANCELLED: u32 = 1;

/// Why a callout is not started.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The guest asked for something that can't be sent.
    #[error("{0}")]
    BadArgument(String),
    /// It could be sent, but not now or not by this guest.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// What the guest is answered for an HTTP call.
    pub(crate) fn http_status(&self) -> Status {
        match self {
            Self::BadArgument(_) => Status::BadArgument,
            Self::Failed(_) => Status::InternalFailure,
        }
    }

    /// What the guest is answered for a gRPC call.
    pub(crate) fn grpc_status(&self) -> Status {
        match self {
            Self::BadArgument(_) => Status::ParseFailure,
            Self::Failed(_) => Status::InternalFailure,
        }
    }
}

/// What became of a callout: an HTTP call has one event, a gRPC call one, a gRPC stream any number, a close last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `proxy_on_http_call_response`
    HttpResponse(HttpResponse),
    /// `proxy_on_http_call_response` without anything to read.
    HttpFailure(HttpFailure),
    /// `proxy_on_grpc_receive` of a call, which has succeeded.
    GrpcResponse {
        /// May be empty.
        initial_metadata: Headers,
        /// May be empty.
        message: Vec<u8>,
        /// May be empty.
        trailing_metadata: Headers,
    },
    /// `proxy_on_grpc_receive_initial_metadata` of a stream.
    GrpcInitialMetadata(Headers),
    /// `proxy_on_grpc_receive` of a stream.
    GrpcMessage(Vec<u8>),
    /// `proxy_on_grpc_receive_trailing_metadata` of a stream.
    GrpcTrailingMetadata(Headers),
    /// `proxy_on_grpc_close`: a call has failed, a stream has ended.
    GrpcClose {
        /// gRPC's status code.
        status: u32,
        /// May be empty.
        message: String,
    },
}

/// What an HTTP call brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// `:status` first; names in lower case.
    pub headers: Headers,
    /// May be empty.
    pub body: Vec<u8>,
    /// Names in lower case.
    pub trailers: Headers,
}

/// Why an HTTP call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFailure {
    /// In few words, for the pseudo-header `:dispatch_status`.
    pub reason: &'static str,
    /// For `proxy_get_status`.
    pub message: String,
}

impl Event {
    /// Why the callout failed, in few words or as gRPC's status; `other` for one that gRPC does not have. `None` when it did not.
    pub(crate) fn failure(&self) -> Option<Cow<'static, str>> {
        /// UNAUTHENTICATED
        const LAST_STATUS: u32 = 16;
        match self {
            Self::HttpFailure(failure) => Some(failure.reason.into()),
            Self::GrpcClose { status: 0, .. } => None,
            Self::GrpcClose { status: status @ 1..=LAST_STATUS, .. } => Some(status.to_string().into()),
            Self::GrpcClose { .. } => Some("other".into()),
            _ => None,
        }
    }

    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::GrpcInitialMetadata(_) | Self::GrpcMessage(_) | Self::GrpcTrailingMetadata(_))
    }
}

/// A set of upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams(Vec<Vec<u8>>);

impl Upstreams {
    /// Those that one of `patterns` names: an upstream as the guest names it (`auth.example.com:8080`), its host alone
    /// (`auth.example.com`), or all hosts of a domain (`*.example.com`).
    pub fn new(patterns: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(patterns.into_iter().map(|pattern| pattern.to_ascii_lowercase()).collect())
    }

    /// Whether it has an upstream of this name.
    pub fn contains(&self, upstream: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let upstream = upstream.to_ascii_lowercase();
        let host = host_of(&upstream);
        self.0.iter().any(|pattern| match pattern.strip_prefix(b"*") {
            Some(domain) => domain.starts_with(b".") && host.len() > domain.len() && host.ends_with(domain),
            None => *pattern == upstream || pattern == host,
        })
    }
}

/// `name` without its port.
fn host_of(name: &[u8]) -> &[u8] {
    let colon = name.iter().rposition(|byte| *byte == b':');
    match colon {
        // An IPv6 address has its colons in brackets.
        Some(colon) if !name[colon..].contains(&b']') => &name[..colon],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_pattern_nobody_is_named() {
        assert!(!Upstreams::default().contains(b"anyone"));
    }

    #[test]
    fn a_pattern_names_an_upstream_a_host_or_a_domain() {
        let upstreams =
            Upstreams::new(["Auth.example.com:81", "b.example.com", "*.c.example.com", "[::1]"].map(Vec::from));
        for upstream in
            ["auth.example.com:81", "b.example.com", "B.example.com:82", "x.c.example.com:1", "[::1]:80", "[::1]"]
        {
            assert!(upstreams.contains(upstream.as_bytes()), "{upstream}");
        }
        for upstream in
            ["auth.example.com", "auth.example.com:8", "c.example.com", "evilc.example.com", "xb.example.com", "[::2]"]
        {
            assert!(!upstreams.contains(upstream.as_bytes()), "{upstream}");
        }
    }
}
