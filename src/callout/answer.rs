//! What comes back, gathered until the guest can be told.

use callout_client::{Error, Event as Part, grpc};
use http::HeaderMap;
use proxy_wasm_runtime::callout::{Event, Headers, HttpFailure, HttpResponse};

/// `INTERNAL` of gRPC.
const GRPC_INTERNAL: u32 = 13;
/// `RESOURCE_EXHAUSTED` of gRPC.
const GRPC_RESOURCE_EXHAUSTED: u32 = 8;

/// The answer to a callout, as far as it has come.
pub enum Answer {
    Http {
        response: HttpResponse,
        most: usize,
    },
    GrpcCall {
        receiver: grpc::Receiver,
        initial_metadata: Headers,
        message: Option<Vec<u8>>,
        trailing_metadata: Headers,
    },
    GrpcStream(grpc::Receiver),
}

impl Answer {
    /// Of an HTTP call; a body of more than `most` bytes is a failure.
    pub fn http(most: usize) -> Self {
        Self::Http { response: HttpResponse::default(), most }
    }

    /// Of a gRPC call with one message, or of a stream of messages; each has at most `most` bytes.
    pub fn grpc(is_call: bool, most: usize) -> Self {
        let receiver = grpc::Receiver::new(most);
        if is_call {
            Self::GrpcCall {
                receiver,
                initial_metadata: Headers::new(),
                message: None,
                trailing_metadata: Headers::new(),
            }
        } else {
            Self::GrpcStream(receiver)
        }
    }

    /// Takes in a part, and returns what the guest is to be told because of it, in order.
    pub fn take_in(&mut self, part: Part) -> Vec<Event> {
        match self {
            Self::Http { response, most } => take_in_http(response, *most, part).into_iter().collect(),
            Self::GrpcCall { receiver, initial_metadata, message, trailing_metadata } => {
                let mut told = None;
                receiver.receive(part);
                while let Some(event) = receiver.next_event() {
                    match event {
                        grpc::Event::InitialMetadata(metadata) => *initial_metadata = headers(&metadata),
                        grpc::Event::Message(bytes) => *message = Some(bytes.to_vec()),
                        grpc::Event::TrailingMetadata(metadata) => *trailing_metadata = headers(&metadata),
                        grpc::Event::Close(status) => {
                            let (initial, trailing) =
                                (std::mem::take(initial_metadata), std::mem::take(trailing_metadata));
                            told = Some(end_of_call(status, initial, message.take(), trailing));
                        }
                    }
                }
                told.into_iter().collect()
            }
            Self::GrpcStream(receiver) => {
                receiver.receive(part);
                std::iter::from_fn(|| receiver.next_event()).map(stream_event).collect()
            }
        }
    }

    /// What the guest is told when nothing, or nothing more, will come.
    pub fn failure(&self, reason: Reason, message: &str) -> Event {
        match self {
            Self::Http { .. } => {
                Event::HttpFailure(HttpFailure { reason: reason.in_words(), message: message.to_owned() })
            }
            Self::GrpcCall { .. } | Self::GrpcStream(_) => {
                Event::GrpcClose { status: reason.grpc_status(), message: message.to_owned() }
            }
        }
    }
}

/// What went wrong, in the words of `:dispatch_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Timeout,
    BrokenConnection,
    TlsHandshake,
    Resolver,
    Reader,
    TooLarge,
}

impl Reason {
    fn in_words(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::BrokenConnection => "broken connection",
            Self::TlsHandshake => "tls handshake failure",
            Self::Resolver => "resolver failure",
            Self::Reader | Self::TooLarge => "reader failure",
        }
    }

    fn grpc_status(self) -> u32 {
        const DEADLINE_EXCEEDED: u32 = 4;
        const UNAVAILABLE: u32 = 14;
        match self {
            Self::Timeout => DEADLINE_EXCEEDED,
            Self::BrokenConnection | Self::TlsHandshake | Self::Resolver => UNAVAILABLE,
            Self::Reader => GRPC_INTERNAL,
            Self::TooLarge => GRPC_RESOURCE_EXHAUSTED,
        }
    }
}

fn take_in_http(response: &mut HttpResponse, most: usize, part: Part) -> Option<Event> {
    match part {
        Part::Head { status, headers: map } => {
            response.headers = Headers::with_capacity(map.len() + 1);
            response.headers.push((b":status".to_vec(), status.to_string().into_bytes()));
            response.headers.extend(owned(&map));
            None
        }
        Part::Data(data) if response.body.len() + data.len() > most => {
            let message = format!("the response has more than {most} bytes, which callout_response_size allows");
            Some(Event::HttpFailure(HttpFailure { reason: Reason::TooLarge.in_words(), message }))
        }
        Part::Data(data) => {
            response.body.extend_from_slice(&data);
            None
        }
        Part::Trailers(map) => {
            response.trailers = headers(&map);
            None
        }
        Part::End => Some(Event::HttpResponse(std::mem::take(response))),
        Part::Failed(error) => {
            let reason = if error == Error::Closed { Reason::BrokenConnection } else { Reason::Reader };
            Some(Event::HttpFailure(HttpFailure { reason: reason.in_words(), message: error.to_string() }))
        }
    }
}

fn end_of_call(
    status: grpc::Status,
    initial_metadata: Headers,
    message: Option<Vec<u8>>,
    trailing_metadata: Headers,
) -> Event {
    match message {
        Some(message) if status.code == 0 => Event::GrpcResponse { initial_metadata, message, trailing_metadata },
        None if status.code == 0 => {
            Event::GrpcClose { status: GRPC_INTERNAL, message: "the server succeeded without a message".to_owned() }
        }
        _ => Event::GrpcClose { status: status.code, message: status.message },
    }
}

fn stream_event(event: grpc::Event) -> Event {
    match event {
        grpc::Event::InitialMetadata(metadata) => Event::GrpcInitialMetadata(headers(&metadata)),
        grpc::Event::Message(bytes) => Event::GrpcMessage(bytes.to_vec()),
        grpc::Event::TrailingMetadata(metadata) => Event::GrpcTrailingMetadata(headers(&metadata)),
        grpc::Event::Close(status) => Event::GrpcClose { status: status.code, message: status.message },
    }
}

fn headers(map: &HeaderMap) -> Headers {
    owned(map).collect()
}

fn owned(map: &HeaderMap) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
}
