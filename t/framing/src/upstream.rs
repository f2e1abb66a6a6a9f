//! The upstream: it takes nothing but well-formed requests that the client has sent, once each, and answers as the case says.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::case::{Answer, AnswerFraming, Moment};
use crate::message::{Fault, Framing, Head, Reader, is_token, show};

/// What the client has told of a request.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub answer: Answer,
    /// Unless the script may change it.
    pub body: Option<Vec<u8>>,
    /// The value of Host, where it is known.
    pub host: Option<String>,
    pub may_lack_host: bool,
    /// How often it may come.
    pub most: usize,
    pub seen: usize,
}

/// What client and upstream know of each other.
#[derive(Default)]
pub struct Shared {
    pub expected: HashMap<u64, Expected>,
    /// Whether requests may come in which nothing tells whose they are.
    pub allows_anonymous: bool,
    pub faults: Vec<String>,
    /// What went over connections with nginx since the case began.
    pub transcript: Vec<String>,
}

pub type Board = Arc<Mutex<Shared>>;

/// Longer than anything that is not stuck.
pub const WATCHDOG: Duration = Duration::from_secs(10);

pub fn start(board: Board) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let board = Arc::clone(&board);
            thread::spawn(move || serve(socket, &board));
        }
    });
    Ok(port)
}

fn serve(mut socket: TcpStream, board: &Board) {
    let _ = socket.set_nodelay(true);
    let Ok(source) = socket.try_clone() else { return };
    let mut reader = Reader::new(source);
    loop {
        let outcome = exchange(&mut reader, &mut socket, board);
        if !reader.seen().is_empty() {
            board.lock().unwrap().transcript.push(format!("upstream got\n      {}", show(reader.seen())));
        }
        reader.forget();
        match outcome {
            Ok(true) => (),
            Ok(false) | Err(Fault::End | Fault::Cut | Fault::Waiting) => break,
            Err(Fault::Malformed(why)) => {
                board.lock().unwrap().faults.push(format!("the upstream got no well-formed request: {why}"));
                break;
            }
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// Returns whether the connection can be used again.
fn exchange(reader: &mut Reader<TcpStream>, socket: &mut TcpStream, board: &Board) -> Result<bool, Fault> {
    let head = reader.head()?;
    let (method, target, version) = request_line(&head)?;
    check_head(&head)?;
    let framing = head.framing()?.unwrap_or(Framing::Length(0));
    let (id, answer, wanted) = expectation(&head, &target, board)?;
    if answer.moment == Moment::After {
        read_body(reader, framing, wanted.as_deref())?;
    }
    let is_kept = send(socket, &head, &method, &version, id, &answer, board).unwrap_or(false);
    match answer.moment {
        Moment::Before => read_body(reader, framing, None)?,
        Moment::Instead if framing != Framing::Length(0) => return Ok(false),
        _ => (),
    }
    Ok(is_kept)
}

fn read_body(reader: &mut Reader<TcpStream>, framing: Framing, wanted: Option<&[u8]>) -> Result<(), Fault> {
    let (body, trailers) = reader.body(framing)?;
    if !trailers.is_empty() {
        return Err(Fault::Malformed(format!("trailers of a request: {trailers:?}")));
    }
    match wanted {
        Some(wanted) if wanted != body => Err(Fault::Malformed(format!(
            "a body of {} bytes instead of {}: `{}` instead of `{}`",
            body.len(),
            wanted.len(),
            show(&body),
            show(wanted)
        ))),
        _ => Ok(()),
    }
}

fn request_line(head: &Head) -> Result<(String, String, String), Fault> {
    let words: Vec<&str> = head.line.split(' ').collect();
    match words[..] {
        [method, target, version @ ("HTTP/1.0" | "HTTP/1.1")]
            if !method.is_empty() && method.bytes().all(is_token) && !target.is_empty() && target.is_ascii()
                || words[1].starts_with('/') =>
        {
            Ok((method.into(), target.into(), version.into()))
        }
        _ => Err(Fault::Malformed(format!("the request line `{}`", head.line))),
    }
}

fn check_head(head: &Head) -> Result<(), Fault> {
    for name in ["host", "connection", "content-length", "transfer-encoding", "expect", "upgrade"] {
        head.one(name)?;
    }
    if let Some((name, _)) = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-injected")) {
        return Err(Fault::Malformed(format!("{name}, which a value has brought in")));
    }
    Ok(())
}

fn identity(head: &Head, target: &str) -> Option<u64> {
    let of_header = head.all("x-id").next().and_then(|value| value.parse().ok());
    of_header.or_else(|| target.split('?').next()?.rsplit('/').next()?.parse().ok())
}

/// The answer to a request, and its body where that is known.
fn expectation(head: &Head, target: &str, board: &Board) -> Result<(u64, Answer, Option<Vec<u8>>), Fault> {
    let mut shared = board.lock().unwrap();
    if target.contains("smuggled") {
        return Err(Fault::Malformed("a body has become a request".into()));
    }
    let id = identity(head, target);
    if ["/callout", "/auth-check", "/mirrored"].iter().any(|path| target.starts_with(path)) {
        return Ok((0, Answer::default(), None));
    }
    let allows_anonymous = shared.allows_anonymous;
    match id.and_then(|id| shared.expected.get_mut(&id)) {
        Some(expected) => {
            let id = id.unwrap_or_default();
            expected.seen += 1;
            if expected.seen > expected.most {
                return Err(Fault::Malformed(format!("the same request {} times", expected.seen)));
            }
            // A script that takes it away is the only one who may.
            let host = head.one("host")?;
            if host.is_none() && !expected.may_lack_host {
                return Err(Fault::Malformed("no Host".into()));
            }
            if expected.host.is_some() && expected.host.as_deref() != host {
                return Err(Fault::Malformed(format!("the host {host:?} instead of {:?}", expected.host)));
            }
            Ok((id, expected.answer.clone(), expected.body.clone()))
        }
        None if id.is_none() && allows_anonymous => Ok((0, Answer::default(), None)),
        None => Err(Fault::Malformed("a request that the client has not sent".into())),
    }
}

/// Returns whether the connection stays.
fn send(
    socket: &mut TcpStream,
    head: &Head,
    method: &str,
    version: &str,
    id: u64,
    answer: &Answer,
    board: &Board,
) -> std::io::Result<bool> {
    let body = answer.body_bytes(id);
    let is_old = version == "HTTP/1.0";
    let framing = match answer.framing {
        AnswerFraming::Chunked | AnswerFraming::Trailers if is_old => AnswerFraming::Close,
        framing => framing,
    };
    let mut text = format!("HTTP/1.1 {} Some Reason\r\n", answer.status);
    let has_request_body = matches!(head.framing(), Ok(Some(framing)) if framing != Framing::Length(0));
    let is_closed = is_old
        || matches!(framing, AnswerFraming::Close | AnswerFraming::Cut)
        || answer.moment == Moment::Instead && has_request_body;
    for (name, value) in answer.headers.iter().filter(|(name, _)| !(is_closed && name == "Connection")) {
        text += &format!("{name}: {value}\r\n");
    }
    let has_body = method != "HEAD" && !answer.has_no_body();
    let mut part = &body[..];
    let range = head.all("range").next().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    // As the module for slices asks for them.
    if let Some((Ok(from), Ok(to))) = range.map(|(from, to)| (from.parse::<usize>(), to.parse::<usize>()))
        && answer.headers.iter().any(|(_, value)| value == "\"slice\"")
        && from < body.len()
    {
        let end = (to + 1).min(body.len());
        part = &body[from..end];
        text = text.replacen("200", "206", 1);
        text += &format!("Content-Range: bytes {from}-{}/{}\r\n", end - 1, body.len());
    }
    let mut out = Vec::new();
    match framing {
        _ if answer.has_no_body() => (),
        AnswerFraming::Length | AnswerFraming::Cut => text += &format!("Content-Length: {}\r\n", part.len()),
        AnswerFraming::Chunked | AnswerFraming::Trailers => text += "Transfer-Encoding: chunked\r\n",
        AnswerFraming::Close => (),
    }
    let says_close = answer.headers.iter().any(|(name, value)| name == "Connection" && value == "close");
    if is_closed {
        text += "Connection: close\r\n";
    }
    out.extend(text.into_bytes());
    out.extend(b"\r\n");
    if has_body {
        match framing {
            AnswerFraming::Cut => out.extend(&part[..part.len() / 2]),
            AnswerFraming::Length | AnswerFraming::Close => out.extend(part),
            AnswerFraming::Chunked | AnswerFraming::Trailers => {
                for chunk in part.chunks(1 + part.len() / 3) {
                    out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    out.extend(chunk);
                    out.extend(b"\r\n");
                }
                out.extend(if framing == AnswerFraming::Trailers {
                    &b"0\r\nX-Trailer: 1\r\n\r\n"[..]
                } else {
                    b"0\r\n\r\n"
                });
            }
        }
    }
    board.lock().unwrap().transcript.push(format!("upstream sends\n      {}", show(&out)));
    socket.write_all(&out)?;
    Ok(!is_closed && !says_close)
}
