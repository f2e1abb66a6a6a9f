//! The client over HTTP/2, whose frames are the crate h2's matter: requests at the same time over a connection that is kept from case to
//! case. A response may end a stream, never the connection.

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::case::{Request, RequestBody};
use crate::client::Response;
use crate::effects::{FRAMING, ORIGINAL_HOST};
use crate::message::{Fault, Framing, Head, Headers};
use crate::upstream::WATCHDOG;

/// nginx takes a connection with many frames and few bytes for an attack.
const MOST_REQUESTS: usize = 400;

pub struct Http2 {
    runtime: Runtime,
    port: u16,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    requests: usize,
}

impl Http2 {
    pub fn new(port: u16) -> std::io::Result<Self> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, port, connection: None })
    }

    /// Sends requests at the same time, and returns the response to each.
    pub fn send(&mut self, requests: Vec<(u64, Request)>) -> Result<Vec<Result<Response, Fault>>, String> {
        let Self { runtime, port, connection: kept } = self;
        runtime.block_on(async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => open(*port).await.map_err(|error| format!("no connection with nginx: {error}"))?,
            };
            connection.requests += requests.len();
            let running: Vec<_> = requests
                .into_iter()
                .map(|(id, request)| {
                    let sender = connection.sender.clone();
                    tokio::spawn(async move {
                        timeout(WATCHDOG, exchange(sender, &request, id)).await.unwrap_or(Err(Fault::Waiting))
                    })
                })
                .collect();
            let mut responses = Vec::new();
            for response in running {
                responses.push(response.await.map_err(|error| error.to_string())?);
            }
            if connection.driver.is_finished() {
                return Err(format!("the connection ended: {:?}", connection.driver.await));
            }
            *kept = Some(connection).filter(|connection| connection.requests < MOST_REQUESTS);
            Ok(responses)
        })
    }
}

async fn open(port: u16) -> Result<Connection, Box<dyn std::error::Error>> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = client::Builder::new().enable_push(false).handshake(socket).await?;
    Ok(Connection { sender, driver: tokio::spawn(connection), requests: 0 })
}

/// An end of the stream that a server may choose is a cut; all else that h2 complains about is a fault of nginx. PROTOCOL_ERROR is how
/// nginx closes a stream without an answer, as for its status 444.
fn fault(error: h2::Error) -> Fault {
    let is_chosen = matches!(error.reason(), Some(Reason::INTERNAL_ERROR | Reason::PROTOCOL_ERROR | Reason::NO_ERROR));
    if error.is_reset() && error.is_remote() && is_chosen {
        return Fault::Cut;
    }
    Fault::Malformed(format!("HTTP/2: {error}"))
}

async fn exchange(sender: SendRequest<Bytes>, request: &Request, id: u64) -> Result<Response, Fault> {
    let mut sender = sender.ready().await.map_err(fault)?;
    let head = head(request, id).map_err(|error| Fault::Malformed(error.to_string()))?;
    let (response, stream) = sender.send_request(head, request.body == RequestBody::None).map_err(fault)?;
    if request.body != RequestBody::None {
        send_body(stream, request, id).await;
    }
    let (parts, mut stream) = response.await.map_err(fault)?.into_parts();
    let head = Head { line: format!("HTTP/2 {}", parts.status.as_u16()), headers: headers(&parts.headers) };
    let (body, trailers) = read_body(&mut stream).await?;
    check(request, parts.status.as_u16(), head, body, &trailers)
}

/// Without the headers that HTTP/2 has not.
fn head(request: &Request, id: u64) -> Result<http::Request<()>, http::Error> {
    let uri = format!("http://{ORIGINAL_HOST}/{}/{id}", request.location);
    let mut head = http::Request::builder().method(request.method.as_str()).uri(uri).header("x-id", id);
    let is_hop = |name: &str| ["connection", "upgrade", "keep-alive", "proxy-connection"].contains(&name);
    for (name, value) in request.headers.iter().filter(|(name, _)| !is_hop(&name.to_ascii_lowercase())) {
        head = head.header(name, value);
    }
    if let RequestBody::Length(size) = request.body {
        head = head.header("content-length", size);
    }
    head.body(())
}

/// What can't be sent is told by the response.
async fn send_body(mut stream: SendStream<Bytes>, request: &Request, id: u64) {
    let mut body = Bytes::from(request.body_bytes(id));
    let sizes = if let RequestBody::Chunks(sizes) = &request.body { sizes } else { &request.pieces };
    for &size in sizes {
        let _ = stream.send_data(body.split_to(size.min(body.len())), false);
        tokio::task::yield_now().await;
    }
    let _ = stream.send_data(body, true);
}

/// The body and the trailers.
async fn read_body(stream: &mut RecvStream) -> Result<(Vec<u8>, Headers), Fault> {
    // So a server asks for no more of a request that it has answered: RFC 9113, 8.1.
    let is_end = |error: &h2::Error| error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                body.extend_from_slice(&data);
                stream.flow_control().release_capacity(data.len()).map_err(fault)?;
            }
            Err(error) if is_end(&error) => break,
            Err(error) => return Err(fault(error)),
        }
    }
    match stream.trailers().await {
        Ok(trailers) => Ok((body, trailers.as_ref().map(headers).unwrap_or_default())),
        Err(error) if is_end(&error) => Ok((body, Vec::new())),
        Err(error) => Err(fault(error)),
    }
}

fn headers(map: &http::HeaderMap) -> Headers {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn check(request: &Request, status: u16, head: Head, body: Vec<u8>, trailers: &Headers) -> Result<Response, Fault> {
    let malformed = |why: String| Err(Fault::Malformed(why));
    head.check()?;
    if let Some((name, _)) = trailers.iter().find(|(name, _)| name == "x-injected" || FRAMING.contains(&name.as_str()))
    {
        return malformed(format!("a trailer {name}"));
    }
    let has_body = request.method != "HEAD" && !matches!(status, 204 | 304);
    match head.framing()? {
        Some(framing) if status == 204 => malformed(format!("{framing:?} in a 204")),
        Some(Framing::Length(length)) if has_body && length != body.len() => {
            malformed(format!("{} bytes with a content-length of {length}", body.len()))
        }
        _ if !has_body && !body.is_empty() => malformed("a body where there is none".into()),
        _ => Ok(Response { status, head, body, closes: false }),
    }
}
