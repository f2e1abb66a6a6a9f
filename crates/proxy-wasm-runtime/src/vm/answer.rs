use crate::{
    abi::HeaderMap,
    callout::{Event, Headers},
};

/// What a guest can read in the callback of a callout, and nowhere else.
pub(crate) struct Answer {
    /// The stream context that the callout was made for, if it lives: callouts of the callback are made for it too.
    pub stream: Option<u32>,
    /// What came of it.
    pub event: Event,
}

/// `BrokenConnection`, by which Envoy tells of a failed HTTP call.
const BROKEN_CONNECTION: u32 = 11;

impl Answer {
    /// A header map of the answer; `None` when it has none of this type.
    pub fn headers(&self, map: HeaderMap) -> Option<&Headers> {
        match (map, &self.event) {
            (HeaderMap::HttpCallResponseHeaders, Event::HttpResponse(response)) => Some(&response.headers),
            (HeaderMap::HttpCallResponseTrailers, Event::HttpResponse(response)) => Some(&response.trailers),
            (HeaderMap::GrpcInitialMetadata, Event::GrpcResponse { initial_metadata, .. }) => Some(initial_metadata),
            (HeaderMap::GrpcTrailingMetadata, Event::GrpcResponse { trailing_metadata, .. }) => Some(trailing_metadata),
            (HeaderMap::GrpcInitialMetadata, Event::GrpcInitialMetadata(metadata))
            | (HeaderMap::GrpcTrailingMetadata, Event::GrpcTrailingMetadata(metadata)) => Some(metadata),
            _ => None,
        }
    }

    /// A header of the answer. That of a failed HTTP call has `:dispatch_status` alone, which its map does not list.
    pub fn header(&self, map: HeaderMap, name: &[u8]) -> Option<&[u8]> {
        if let (HeaderMap::HttpCallResponseHeaders, Event::HttpFailure(failure)) = (map, &self.event) {
            return (name == b":dispatch_status").then_some(failure.reason.as_bytes());
        }
        let headers = self.headers(map)?;
        headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The body of an HTTP call's answer.
    pub fn body(&self) -> Option<&[u8]> {
        match &self.event {
            Event::HttpResponse(response) => Some(&response.body),
            _ => None,
        }
    }

    /// The message of a gRPC call's answer, or that a gRPC stream has brought.
    pub fn message(&self) -> Option<&[u8]> {
        match &self.event {
            Event::GrpcResponse { message, .. } | Event::GrpcMessage(message) => Some(message),
            _ => None,
        }
    }

    /// The status for `proxy_get_status`: a code and a message.
    pub fn status(&self) -> (u32, &str) {
        match &self.event {
            Event::HttpFailure(failure) => (BROKEN_CONNECTION, &failure.message),
            Event::GrpcClose { status, message } => (*status, message),
            _ => (0, ""),
        }
    }
}
