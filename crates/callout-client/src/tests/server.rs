//! A server of hyper's, polled by hand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;

use crate::Protocol;
use crate::driver::Woken;
use crate::machine::Tasks;
use crate::pipe::Pipe;

pub(super) type ServerBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Reply = Pin<Box<dyn Future<Output = Result<Response<ServerBody>, Infallible>>>>;

pub(super) struct Server {
    pipe: Pipe,
    tasks: Tasks,
    woken: Arc<Woken>,
}

impl Server {
    pub(super) fn new(protocol: Protocol, service: impl Fn(Request<Incoming>) -> Reply + 'static) -> Self {
        let pipe = Pipe::default();
        let tasks = Tasks::default();
        let service = service_fn(service);
        match protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new().serve_connection(pipe.clone(), service);
                tasks.spawner().execute(async { drop(connection.await) });
            }
            Protocol::Http2 => {
                let connection = http2::Builder::new(tasks.spawner()).serve_connection(pipe.clone(), service);
                tasks.spawner().execute(async { drop(connection.await) });
            }
        }
        Self { pipe, tasks, woken: Arc::default() }
    }

    /// Sends back what it gets: method, path, headers as `echo-…`, body, trailers.
    pub(super) fn echo(protocol: Protocol) -> Self {
        Self::new(protocol, |request| Box::pin(async { Ok(echo(request).await) }))
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.pipe.receive(bytes);
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        let waker = Waker::from(self.woken.clone());
        let mut moved = None;
        while self.woken.take() || moved != Some(self.pipe.moved()) {
            moved = Some(self.pipe.moved());
            self.tasks.poll(&mut Context::from_waker(&waker));
        }
        self.pipe.take_output()
    }
}

pub(super) fn body(bytes: impl Into<Bytes>) -> ServerBody {
    Full::new(bytes.into()).boxed_unsync()
}

async fn echo(request: Request<Incoming>) -> Response<ServerBody> {
    let (head, incoming) = request.into_parts();
    let collected = match incoming.collect().await {
        Ok(collected) => collected,
        Err(_) => return Response::new(body("broken")),
    };
    let trailers = collected.trailers().cloned();
    let mut response = Response::builder()
        .header("echo-method", head.method.as_str())
        .header("echo-uri", head.uri.to_string())
        .header("trailer", "checksum")
        .body(with_trailers(collected.to_bytes(), trailers))
        .unwrap();
    for (name, value) in &head.headers {
        let name = http::HeaderName::from_bytes(format!("echo-{name}").as_bytes()).unwrap();
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// A body of unknown length.
pub(super) fn with_trailers(bytes: impl Into<Bytes>, trailers: Option<HeaderMap>) -> ServerBody {
    let bytes = bytes.into();
    let data = (!bytes.is_empty()).then(|| Frame::data(bytes));
    Frames(data.into_iter().chain(trailers.map(Frame::trailers)).collect()).boxed_unsync()
}

struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
