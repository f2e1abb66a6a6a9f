//! The client: it sends the requests of a case over one connection and takes nothing but one well-formed response to each, in order.

use std::io::Write;
use std::net::TcpStream;

use crate::case::{AnswerFraming, Case, Exchange, Moment, Request, RequestBody};
use crate::effects::{BodyEffect, Effects};
use crate::generate::PROXIED;
use crate::http2::Http2;
use crate::message::{Fault, Framing, Head, Reader, show};
use crate::nginx::{RETURNED, SAID, STATIC_BODY};
use crate::upstream::{Board, Expected, WATCHDOG};

/// What has been counted while cases ran.
#[derive(Default)]
pub struct Counts {
    pub cases: u64,
    pub requests: u64,
    /// Responses that had to be what location or upstream say, and were.
    pub exact: u64,
}

/// One connection with nginx.
struct Connection {
    socket: TcpStream,
    reader: Reader<TcpStream>,
    sent: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> Result<Self, String> {
        let open = || {
            let socket = TcpStream::connect(("127.0.0.1", port))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(WATCHDOG))?;
            socket.set_write_timeout(Some(WATCHDOG))?;
            let reader = Reader::new(socket.try_clone()?);
            Ok::<_, std::io::Error>(Self { socket, reader, sent: Vec::new() })
        };
        open().map_err(|error| format!("no connection with nginx: {error}"))
    }

    /// A write that fails is told by what can be read.
    fn send(&mut self, mut bytes: &[u8], pieces: &[usize]) {
        self.sent.extend_from_slice(bytes);
        for &size in pieces {
            let (piece, rest) = bytes.split_at(size.min(bytes.len()));
            let _ = self.socket.write_all(piece);
            bytes = rest;
        }
        let _ = self.socket.write_all(bytes);
    }
}

pub struct Client {
    port: u16,
    upstream: u16,
    board: Board,
    pub counts: Counts,
    admin: Option<Connection>,
    bystander: Option<Connection>,
    http2: Http2,
}

pub struct Response {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// The connection ends with it.
    pub closes: bool,
}

impl Client {
    /// `http2_port` is where nginx takes HTTP/2.
    pub fn new(port: u16, http2_port: u16, upstream: u16, board: Board) -> std::io::Result<Self> {
        let http2 = Http2::new(http2_port)?;
        Ok(Self { port, upstream, board, counts: Counts::default(), admin: None, bystander: None, http2 })
    }

    /// Runs a case. Its requests have ids from `first_id` on. An error is a finding.
    pub fn run(&mut self, case: &Case, first_id: u64) -> Result<(), String> {
        let mut effects = Effects::of(case);
        if case.phases.iter().any(|phase| phase == "in_parts") && effects.request_body != BodyEffect::None {
            effects.request_body = BodyEffect::Unknown;
        }
        self.prepare(case, &effects, first_id);
        self.install(case)?;
        self.counts.cases += 1;
        let mut rest: Vec<(u64, &Exchange)> = (first_id..).zip(&case.exchanges).collect();
        if case.is_http2 {
            self.run_http2(&effects, std::mem::take(&mut rest), first_id)?;
        }
        while !rest.is_empty() {
            let mut connection = Connection::open(self.port)?;
            let outcome = self.run_connection(&mut connection, &effects, &mut rest, first_id);
            let mut board = self.board.lock().unwrap();
            board.transcript.push(format!("client sent\n      {}", show(&connection.sent)));
            board.transcript.push(format!("client got\n      {}", show(connection.reader.seen())));
            drop(board);
            outcome?;
        }
        // Somebody else's connection, with the upstream's connections that the case has left.
        self.ask_as_bystander(first_id + 1000)
    }

    fn prepare(&mut self, case: &Case, effects: &Effects, first_id: u64) {
        let mut board = self.board.lock().unwrap();
        board.transcript.clear();
        board.expected.clear();
        board.allows_anonymous = effects.anonymous || effects.request;
        for (id, exchange) in (first_id..).zip(&case.exchanges) {
            let request = &exchange.request;
            let body = effects.request_body(request.body_bytes(id));
            let most = if request.location == "slice" { usize::MAX } else { 1 };
            let is_absolute = request.is_absolute && !case.is_http2;
            let takes_host = matches!(request.location.as_str(), "http10" | "host") && !is_absolute;
            let host = if takes_host { effects.host.clone() } else { None };
            let may_lack_host = effects.host.is_none();
            let answer = exchange.answer.clone();
            board.expected.insert(id, Expected { answer, body, host, may_lack_host, most, seen: 0 });
        }
        let plain = Exchange::default();
        board.expected.insert(
            first_id + 1000,
            Expected { answer: plain.answer, body: Some(Vec::new()), most: 1, ..Expected::default() },
        );
    }

    fn install(&mut self, case: &Case) -> Result<(), String> {
        let script = case.script.join("\n").replace("$UPSTREAM", &self.upstream.to_string());
        let script = if script.is_empty() { "# nothing".into() } else { script };
        let mut query = case.phases.iter().map(|phase| format!("{phase}=1")).collect::<Vec<_>>();
        if ["trap", "panic"].iter().any(|command| case.script.iter().any(|line| line.contains(command))) {
            query.push("own_plugin=1".into());
        }
        let text = format!(
            "POST /install?{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{script}",
            query.join("&"),
            script.len()
        );
        let mut connection = match self.admin.take() {
            Some(connection) => connection,
            None => Connection::open(self.port)?,
        };
        connection.send(text.as_bytes(), &[]);
        let response = read_response(&mut connection.reader, &Request::default())
            .map_err(|fault| format!("the script was not installed: {fault:?}"))?;
        if response.body != b"installed" {
            return Err(format!("the script was not installed: {}", show(&response.body)));
        }
        connection.reader.forget();
        connection.sent.clear();
        self.admin = Some(connection);
        Ok(())
    }

    fn ask_as_bystander(&mut self, id: u64) -> Result<(), String> {
        let exchange =
            Exchange { request: Request { location: "plain".into(), ..Request::default() }, ..Exchange::default() };
        let mut connection = match self.bystander.take() {
            Some(connection) => connection,
            None => Connection::open(self.port)?,
        };
        connection.send(&exchange.request.head_bytes(id), &[]);
        let response = read_response(&mut connection.reader, &exchange.request);
        let response = response.map_err(|fault| format!("a bystander got no answer: {fault:?}"))?;
        if response.status != 200 || response.body != exchange.answer.body_bytes(id) {
            return Err(format!("a bystander was answered {} `{}`", response.head.line, show(&response.body)));
        }
        connection.reader.forget();
        connection.sent.clear();
        self.bystander = (!response.closes).then_some(connection);
        Ok(())
    }

    /// Sends what is left of a case, until the connection ends as it may.
    fn run_connection(
        &mut self,
        connection: &mut Connection,
        effects: &Effects,
        rest: &mut Vec<(u64, &Exchange)>,
        first_id: u64,
    ) -> Result<(), String> {
        // An upstream that answers early may take the rest of the request with it.
        let mut is_shaken = false;
        while !rest.is_empty() {
            let waits = |request: &Request| {
                request.expects_continue() && !matches!(request.body, RequestBody::None | RequestBody::Length(0))
            };
            let followers =
                rest[1..].iter().take_while(|(_, exchange)| exchange.request.is_pipelined && !waits(&exchange.request));
            let count = if waits(&rest[0].1.request) { 1 } else { 1 + followers.count() };
            let batch: Vec<_> = rest.drain(..count).collect();
            let mut bytes = Vec::new();
            for (id, exchange) in &batch {
                bytes.extend(exchange.request.head_bytes(*id));
                if !waits(&exchange.request) {
                    bytes.extend(exchange.request.framed_body(*id));
                }
            }
            connection.send(&bytes, &batch[0].1.request.pieces);
            for (place, (id, exchange)) in batch.iter().enumerate() {
                self.counts.requests += 1;
                let about = |why: String| format!("request {place} of {count} ({exchange}): {why}");
                if waits(&exchange.request) {
                    self.wait_for_continue(connection, exchange, *id).map_err(about)?;
                }
                is_shaken |= exchange.answer.moment != Moment::After && exchange.request.body != RequestBody::None;
                let may_be_cut =
                    is_shaken || effects.cuts || exchange.answer.framing == AnswerFraming::Cut || effects.answers;
                let response = match read_response(&mut connection.reader, &exchange.request) {
                    Ok(response) => response,
                    Err(Fault::Cut | Fault::End) if may_be_cut => return Ok(()),
                    Err(Fault::Cut) => return Err(about("the response is cut off".into())),
                    Err(Fault::End) => return Err(about("the connection was closed without a response".into())),
                    Err(Fault::Waiting) => return Err(about("the client is left waiting".into())),
                    Err(Fault::Malformed(why)) => return Err(about(why)),
                };
                self.check(exchange, *id, &response, effects).map_err(about)?;
                if response.closes {
                    return end(connection, "the last response said so").map_err(about);
                }
            }
        }
        // Nothing was left on the connection.
        let bare = Request {
            location: "bare".into(),
            headers: vec![("Connection".into(), "close".into())],
            ..Request::default()
        };
        connection.send(&bare.head_bytes(first_id + 1001), &[]);
        match read_response(&mut connection.reader, &bare) {
            Ok(response) if response.status == 200 && (response.body == b"bare\n" || effects.response_body) => {
                end(connection, "the last request said so")
            }
            Ok(response) => {
                Err(format!("the last request was answered {} `{}`", response.head.line, show(&response.body)))
            }
            Err(Fault::Cut | Fault::End) if is_shaken || effects.cuts || effects.answers => Ok(()),
            Err(fault) => Err(format!("the last request got no answer: {fault:?}")),
        }
    }

    /// Sends all requests of a case at the same time, and one more over the same connection.
    fn run_http2(&mut self, effects: &Effects, exchanges: Vec<(u64, &Exchange)>, first_id: u64) -> Result<(), String> {
        self.counts.requests += exchanges.len() as u64;
        let requests = exchanges.iter().map(|(id, exchange)| (*id, exchange.request.clone())).collect();
        let responses = self.http2.send(requests)?;
        for ((id, exchange), response) in exchanges.into_iter().zip(responses) {
            let got = match &response {
                Ok(response) => format!("{:?}\n      {}", response.head, show(&response.body)),
                Err(fault) => format!("{fault:?}"),
            };
            self.board.lock().unwrap().transcript.push(format!("client got for {id} ({exchange})\n      {got}"));
            let about = |why: String| format!("HTTP/2, {exchange}: {why}");
            let is_shaken = exchange.answer.moment != Moment::After && exchange.request.body != RequestBody::None;
            let may_be_cut =
                is_shaken || effects.cuts || exchange.answer.framing == AnswerFraming::Cut || effects.answers;
            match response {
                Ok(response) => self.check(exchange, id, &response, effects).map_err(about)?,
                Err(Fault::Cut) if may_be_cut => (),
                Err(fault) => return Err(about(format!("{fault:?}"))),
            }
        }
        let bare = Request { location: "bare".into(), ..Request::default() };
        match self.http2.send(vec![(first_id + 1001, bare)])?.remove(0) {
            Ok(response) if response.status == 200 && response.body == b"bare\n" => Ok(()),
            Ok(response) => {
                Err(format!("the last request was answered {:?} `{}`", response.head, show(&response.body)))
            }
            Err(fault) => Err(format!("the last request got no answer: {fault:?}")),
        }
    }

    /// Sends the body once the server wants it, or has answered without it.
    fn wait_for_continue(&mut self, connection: &mut Connection, exchange: &Exchange, id: u64) -> Result<(), String> {
        match connection.reader.peek_line() {
            Ok(line) if line.starts_with("HTTP/1.1 100 ") => {
                let _ = connection.reader.head();
            }
            Ok(_) => (),
            Err(Fault::Waiting) => return Err("no 100 Continue comes, nor an answer".into()),
            Err(_) => return Ok(()),
        }
        connection.send(&exchange.request.framed_body(id), &[]);
        Ok(())
    }

    /// The response is that of the location, unless the script may make another of it.
    fn check(&mut self, exchange: &Exchange, id: u64, response: &Response, effects: &Effects) -> Result<(), String> {
        if response.status == 299 {
            return Err("a smuggled message".into());
        }
        if !effects.response_body
            && let Some(other) = foreign_id(&response.body, id)
        {
            return Err(format!("the body is that of request {other}, not of {id}"));
        }
        if effects.answers || effects.response {
            return Ok(());
        }
        let Some((status, body)) = expected(exchange, id, effects) else { return Ok(()) };
        let method = exchange.request.method.as_str();
        let part = response.head.one("content-range").ok().flatten().and_then(parse_range);
        let is_whole = method != "HEAD" && !effects.response_body && !effects.cuts;
        if let (206, Some((from, to, total))) = (response.status, part) {
            if total != body.len() || is_whole && body.get(from..=to) != Some(&response.body[..]) {
                return Err(format!(
                    "the range {from}-{to}/{total} of {} bytes is wrong: {}",
                    body.len(),
                    show(&response.body)
                ));
            }
            self.counts.exact += 1;
            return Ok(());
        }
        // A range may be given up for a body that may change.
        if response.status != status && (response.status, status) != (200, 206) {
            return Err(format!("answered {} instead of {status}", response.head.line));
        }
        let is_encoded = exchange.request.location == "gzip" && response.head.names("content-encoding", "gzip");
        if is_whole && !matches!(status, 204 | 304) && !is_encoded && response.body != body {
            return Err(format!("the body is `{}` instead of `{}`", show(&response.body), show(&body)));
        }
        self.counts.exact += 1;
        Ok(())
    }
}

/// Status and body that the location's answer has, where they are known.
fn expected(exchange: &Exchange, id: u64, effects: &Effects) -> Option<(u16, Vec<u8>)> {
    let Exchange { request, answer } = exchange;
    let location = request.location.as_str();
    let has_range = request.headers.iter().any(|(name, _)| name == "Range");
    let has_body = request.body != RequestBody::None;
    if PROXIED.contains(&location) {
        let is_lost = answer.framing == AnswerFraming::Cut || answer.moment == Moment::Instead && has_body;
        let is_replaced = location == "intercept" && matches!(answer.status, 404 | 500);
        let is_unclear = location == "slice" && (request.method != "GET" || answer.size < 6);
        // A body that is put where none was has a moment of its own.
        let is_odd = location == "upgrade" && !request.headers.is_empty();
        let is_known = !(effects.request || is_lost || is_replaced || is_unclear || is_odd);
        return is_known.then(|| (answer.status, answer.body_bytes(id)));
    }
    if effects.request {
        return None;
    }
    match location {
        "return" => Some((200, RETURNED.into())),
        "lua" | "discard" => Some((200, SAID.into())),
        "file" if matches!(request.method.as_str(), "GET" | "HEAD") && !has_range => Some((200, STATIC_BODY.into())),
        "file" if request.method == "GET" => Some((206, STATIC_BODY.into())),
        _ => None,
    }
}

/// `bytes FROM-TO/TOTAL`
fn parse_range(text: &str) -> Option<(usize, usize, usize)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?, total.parse().ok()?))
}

/// The id of another request in a body that the upstream has made.
fn foreign_id(body: &[u8], id: u64) -> Option<u64> {
    const BEHIND: &[u8] = b">HTTP/1.1 299";
    let end = body.windows(BEHIND.len()).position(|window| window == BEHIND)?;
    let from = body[..end].iter().rposition(|&byte| byte == b'<')? + 1;
    let other = std::str::from_utf8(&body[from..end]).ok()?.parse().ok()?;
    (other != id).then_some(other)
}

fn end(connection: &mut Connection, why: &str) -> Result<(), String> {
    match connection.reader.end() {
        Ok(()) => Ok(()),
        Err(Fault::Waiting) => Err(format!("the connection is not closed, though {why}")),
        Err(Fault::Malformed(fault)) => Err(fault),
        Err(fault) => Err(format!("{fault:?} at the end of the connection")),
    }
}

/// Reads a response as a client must that has sent this request.
fn read_response(reader: &mut Reader<TcpStream>, request: &Request) -> Result<Response, Fault> {
    let malformed = |why: String| Err(Fault::Malformed(why));
    let mut head = reader.head()?;
    if head.line.starts_with("HTTP/1.1 100 ") && request.expects_continue() {
        head = reader.head()?;
    }
    let status = match head.line.as_bytes() {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', code @ ..] if code.len() >= 3 => {
            let code = &code[..3];
            std::str::from_utf8(code).ok().and_then(|code| code.parse::<u16>().ok())
        }
        _ => None,
    };
    let Some(status) = status.filter(|status| (100..=999).contains(status)) else {
        return malformed(format!("the status line `{}`", head.line));
    };
    if status < 200 {
        return malformed(format!("an interim response: {}", head.line));
    }
    head.check()?;
    let framing = head.framing()?;
    let is_old = request.minor_version == 0;
    if is_old && framing == Some(Framing::Chunked) {
        return malformed("chunks for a client of HTTP/1.0".into());
    }
    if status == 204 && framing.is_some() {
        return malformed(format!("{framing:?} in a 204"));
    }
    let says_close = head.names("connection", "close");
    let is_kept = !says_close && (!is_old || head.names("connection", "keep-alive"));
    let has_body = request.method != "HEAD" && !matches!(status, 204 | 304);
    let framing = match framing {
        _ if !has_body => Framing::Length(0),
        Some(framing) => framing,
        None if is_kept => return malformed("neither a length nor chunks, on a connection that is kept".into()),
        None => Framing::UntilClose,
    };
    let (body, trailers) = reader.body(framing)?;
    for (name, _) in &trailers {
        if name.eq_ignore_ascii_case("x-injected")
            || crate::effects::FRAMING.contains(&name.to_ascii_lowercase().as_str())
        {
            return malformed(format!("a trailer {name}"));
        }
    }
    Ok(Response { status, head, body, closes: !is_kept })
}
