//! Servers that break the rules of HTTP.
//!
//! | kind | what it does |
//! | --- | --- |
//! | `raw` | the body of a request (with `content-length`) is the answer, byte for byte; then it closes |
//! | `closes` | closes the connection at once |
//! | `silent` | reads, and never answers |
//! | `garbage` | answers bytes that are no HTTP |
//! | `truncated` | the body is shorter than `content-length` |
//! | `broken-chunks` | the size of the second chunk is no number |
//! | `truncated-chunks` | ends in the second chunk |
//! | `http1` | answers anything, also HTTP/2, with HTTP/1.1 400 |
//! | `http2-garbage` | HTTP/2 settings, then frames that are none |
//! | `endless-headers` | header lines for ever |
//! | `endless-body` | a body for ever |
//! | `trickle` | a header line each 50 ms, for ever |
//!
//! All but the first two wait for the end of the request's headers before they answer, and for the client to close after it.

use crate::{Connection, Failure};
use std::io::Result;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is wrong with a server.
#[derive(Clone, Copy)]
pub enum Kind {
    Raw,
    Closes,
    Silent,
    Answers(&'static [u8]),
    Repeats { first: &'static [u8], then: &'static [u8], pause: Duration },
}

impl FromStr for Kind {
    type Err = Failure;

    fn from_str(kind: &str) -> std::result::Result<Self, Failure> {
        const HEADER: &[u8] = b"x-endless: 0123456789012345678901234567890123456789\r\n";
        let repeats = |first, then, pause| Self::Repeats { first, then, pause: Duration::from_millis(pause) };
        Ok(match kind {
            "raw" => Self::Raw,
            "closes" => Self::Closes,
            "silent" => Self::Silent,
            "garbage" => Self::Answers(b"\x00\xff\x16\x03\r\n\r\n\x80 no HTTP at all\n\r\x00\x00\xfe\r\n"),
            "truncated" => Self::Answers(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"),
            "broken-chunks" => Self::Answers(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\nxyz\r\nsecond\r\n0\r\n\r\n",
            ),
            "truncated-chunks" => {
                Self::Answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n64\r\nsecond")
            }
            "http1" => Self::Answers(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhtml"),
            "http2-garbage" => {
                Self::Answers(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff garbage")
            }
            "endless-headers" => repeats(b"HTTP/1.1 200 OK\r\n", HEADER, 0),
            "endless-body" => repeats(b"HTTP/1.1 200 OK\r\n\r\n", HEADER, 0),
            "trickle" => repeats(b"HTTP/1.1 200 OK\r\n", HEADER, 50),
            _ => return Err(format!("unknown kind of garbage: {kind}").into()),
        })
    }
}

/// Serves one connection, until the client has closed it.
///
/// # Errors
/// When the client is gone early.
pub async fn serve(kind: Kind, mut socket: impl Connection) -> Result<()> {
    if matches!(kind, Kind::Closes) {
        return Ok(());
    }
    let body = read_request(&mut socket, matches!(kind, Kind::Raw)).await?;
    match kind {
        Kind::Raw => socket.write_all(&body).await?,
        Kind::Answers(answer) => socket.write_all(answer).await?,
        Kind::Repeats { first, then, pause } => {
            socket.write_all(first).await?;
            loop {
                socket.write_all(then).await?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await; // the least is a millisecond
                }
            }
        }
        Kind::Closes | Kind::Silent => return drain(&mut socket).await,
    }
    socket.shutdown().await?;
    drain(&mut socket).await
}

/// With data unread a close would be a reset, which can overtake the answer.
async fn drain(socket: &mut impl Connection) -> Result<()> {
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Reads the head of a request, and the body if that is wanted.
async fn read_request(socket: &mut impl Connection, with_body: bool) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let mut body = vec![0; if with_body { content_length(&head) } else { 0 }];
    socket.read_exact(&mut body).await?;
    Ok(body)
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
