//! The gRPC service `test.Echo`. Messages are bytes. A wrong message of a client gives INVALID_ARGUMENT, an unknown method
//! UNIMPLEMENTED.
//!
//! | method | answer |
//! | --- | --- |
//! | `Unary` | the message |
//! | `ClientStream` | all messages with `,` between |
//! | `ServerStream` | for `N TEXT` the messages `TEXT 0` to `TEXT N-1` |
//! | `Bidirectional` | each message as it comes |
//! | `Size` | for `N` a message of N bytes `x` |
//! | `Wait` | for `MILLISECONDS TEXT` the message TEXT, so much later |
//! | `Metadata` | the metadata `x-*` of the request before and behind a message, which is its `grpc-timeout` |
//! | `Connection` | the number of the connection, counted from 1 |
//! | `Fail` | for `CODE TEXT` this status, without a message |
//! | `FailLater` | for `CODE TEXT` a message `first`, then this status |
//! | `Never` | nothing, ever |
//! | `Silent` | a message `first`, then nothing, ever |
//! | `Die` | a message `first`, then the connection is closed |
//! | `Reset` | a message `first`, then the stream is reset |
//! | `GoAway` | the message; the connection is closed as HTTP/2 does it |
//! | `NoStatus` | a message `first`, then the end without trailers |
//! | `HttpStatus` | for `CODE` this HTTP status, without anything of gRPC |
//! | `Truncated` | the first three bytes of a message of ten, then status 0 |
//! | `Compressed` | a message that says it is compressed, but not how |

use crate::codec::BytesCodec;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, StatusCode, header};
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::body::Body;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_service::Service;

/// How a method ends its connection.
pub enum End {
    Drop,
    Gracefully,
}

/// The service on one connection.
#[derive(Clone)]
pub struct Echo {
    connection: u64,
    ends: UnboundedSender<End>,
}

type Messages = BoxStream<'static, Result<Bytes, Status>>;

impl Echo {
    /// The service, and what it wants to be done to the connection.
    pub fn for_connection() -> (Self, UnboundedReceiver<End>) {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
        let (ends, receiver) = unbounded_channel();
        (Self { connection: 1 + CONNECTIONS.fetch_add(1, Ordering::Relaxed), ends }, receiver)
    }

    /// The answer to one request.
    pub async fn answer(&self, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
        let method = request.uri().path().strip_prefix("/test.Echo/").unwrap_or_default().to_owned();
        match method.as_str() {
            "Reset" | "NoStatus" | "HttpStatus" | "Truncated" | "Compressed" => break_rules(&method, request).await,
            _ => {
                tonic::server::Grpc::new(BytesCodec)
                    .streaming(Method { name: method, echo: self.clone() }, request)
                    .await
            }
        }
    }

    async fn call(self, method: String, request: Request<Streaming<Bytes>>) -> Result<Response<Messages>, Status> {
        let (metadata, _, mut messages) = request.into_parts();
        if method == "Bidirectional" {
            return Ok(Response::new(messages.boxed()));
        }
        if method == "ClientStream" {
            let all: Vec<Bytes> = messages.try_collect().await?;
            return Ok(one(all.join(&b','.to_owned())));
        }
        let message = messages.message().await?.unwrap_or_default();
        match method.as_str() {
            "Unary" => Ok(one(message)),
            "ServerStream" => {
                let (count, text) = number_and_text::<u64>(&message)?;
                Ok(many((0..count).map(move |i| Ok(format!("{text} {i}").into()))))
            }
            "Size" => Ok(one(vec![b'x'; number_and_text(&message)?.0])),
            "Wait" => {
                let (milliseconds, text) = number_and_text(&message)?;
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(one(text))
            }
            "Metadata" => Ok(echo_metadata(&metadata)),
            "Connection" => Ok(one(self.connection.to_string())),
            "Fail" => Err(status(&message)?),
            "FailLater" => Ok(many([Ok(FIRST), Err(status(&message)?)])),
            "Never" => pending().await,
            "Silent" => Ok(Response::new(first_then(pending()))),
            "Die" => Ok(Response::new(first_then(async move {
                let _ = self.ends.send(End::Drop);
                pending().await
            }))),
            "GoAway" => {
                let _ = self.ends.send(End::Gracefully);
                Ok(one(message))
            }
            _ => Err(Status::unimplemented(format!("no method {method}"))),
        }
    }
}

const FIRST: Bytes = Bytes::from_static(b"first");

fn one(message: impl Into<Bytes>) -> Response<Messages> {
    many([Ok(message.into())])
}

fn many<I>(messages: I) -> Response<Messages>
where
    I: IntoIterator<Item = Result<Bytes, Status>, IntoIter: Send + 'static>,
{
    Response::new(stream::iter(messages).boxed())
}

fn first_then(then: impl Future<Output = Result<Bytes, Status>> + Send + 'static) -> Messages {
    stream::iter([Ok(FIRST)]).chain(stream::once(then)).boxed()
}

fn echo_metadata(metadata: &MetadataMap) -> Response<Messages> {
    let mut echoed = MetadataMap::new();
    for pair in metadata.iter() {
        match pair {
            KeyAndValueRef::Ascii(name, value) if name.as_str().starts_with("x-") => {
                echoed.append(name, value.clone());
            }
            KeyAndValueRef::Binary(name, value) if name.as_str().starts_with("x-") => {
                echoed.append_bin(name, value.clone());
            }
            _ => (),
        }
    }
    let timeout = metadata.get("grpc-timeout").map_or(&b""[..], |value| value.as_encoded_bytes());
    // The last item of a stream is how tonic takes trailing metadata.
    let end = Status::with_metadata(Code::Ok, "", echoed.clone());
    let mut response = many([Ok(Bytes::copy_from_slice(timeout)), Err(end)]);
    *response.metadata_mut() = echoed;
    response
}

/// The number at the start of the message, and what is behind the blank.
fn number_and_text<N: std::str::FromStr>(message: &[u8]) -> Result<(N, String), Status> {
    let text = String::from_utf8_lossy(message);
    let (number, text) = text.split_once(' ').unwrap_or((&text, ""));
    let number = number.parse().map_err(|_| Status::invalid_argument("the message starts with no number"))?;
    Ok((number, text.to_owned()))
}

fn status(message: &[u8]) -> Result<Status, Status> {
    let (code, text) = number_and_text::<i32>(message)?;
    Ok(Status::new(Code::from_i32(code), text))
}

/// Answers that no gRPC library gives, as raw HTTP/2.
async fn break_rules(method: &str, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), 0.into())]);
    let first = Ok(Frame::data(message(0, 5, &FIRST)));
    let end = Ok(Frame::trailers(trailers));
    let mut status = StatusCode::OK;
    let frames: Vec<Result<Frame<Bytes>, &str>> = match method {
        "Reset" => vec![first, Err("the stream is to be reset")],
        "NoStatus" => vec![first],
        "Truncated" => vec![Ok(Frame::data(message(0, 10, b"abc"))), end],
        "Compressed" => vec![Ok(Frame::data(message(1, 5, &FIRST))), end],
        _ => {
            let code = body.get(5..).and_then(|code| number_and_text(code).ok()).map_or(0, |(code, _)| code);
            status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
            vec![]
        }
    };
    // A frame has to be on its way when the reset comes, which would overtake it.
    let frames = stream::iter(frames).then(async |frame| {
        tokio::task::yield_now().await;
        frame
    });
    let mut response = hyper::Response::new(Body::new(StreamBody::new(frames)));
    if method != "HttpStatus" {
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/grpc"));
    }
    *response.status_mut() = status;
    response
}

/// `compressed` and `size` as the five bytes before a message say them.
fn message(compressed: u8, size: u32, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(compressed);
    message.put_u32(size);
    message.put(bytes);
    message.freeze()
}

/// A method as tonic calls it.
struct Method {
    name: String,
    echo: Echo,
}

impl Service<Request<Streaming<Bytes>>> for Method {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Messages>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(self.echo.clone().call(std::mem::take(&mut self.name), request))
    }
}
