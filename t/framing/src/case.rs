//! A case: what the plugin does, what the client sends over one connection, and what the upstream answers. It has a form as text,
//! which a failure prints and `--case` reads.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::effects::ORIGINAL_HOST;

#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Which functions of the library nginx calls, and how: see t/lib/framing.lua.
    pub phases: Vec<String>,
    /// For the guest `script`.
    pub script: Vec<String>,
    pub exchanges: Vec<Exchange>,
    /// The requests go over HTTP/2, all at the same time, without what only HTTP/1 has.
    pub is_http2: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Exchange {
    pub request: Request,
    pub answer: Answer,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The first segment of the path: one of nginx's locations.
    pub location: String,
    /// `GET http://host/…`
    pub is_absolute: bool,
    /// 0 or 1.
    pub minor_version: u8,
    pub body: RequestBody,
    pub headers: Vec<(String, String)>,
    /// Sent together with the one before it.
    pub is_pipelined: bool,
    /// Sizes of the pieces in which it is written; the rest is one.
    pub pieces: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RequestBody {
    None,
    Length(usize),
    /// The sizes of the chunks.
    Chunks(Vec<usize>),
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub framing: AnswerFraming,
    pub size: usize,
    pub headers: Vec<(String, String)>,
    pub moment: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnswerFraming {
    Length,
    Chunked,
    Trailers,
    Close,
    /// Half of what the length says, then the connection ends.
    Cut,
}

/// When the upstream answers: after the request's body, or before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    After,
    Before,
    /// Before the body, which is then not read.
    Instead,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            location: "proxy".into(),
            is_absolute: false,
            minor_version: 1,
            body: RequestBody::None,
            headers: Vec::new(),
            is_pipelined: false,
            pieces: Vec::new(),
        }
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, framing: AnswerFraming::Length, size: 12, headers: Vec::new(), moment: Moment::After }
    }
}

fn repeat(text: &str, size: usize) -> Vec<u8> {
    text.bytes().cycle().take(size).collect()
}

impl Request {
    pub fn has(&self, name: &str, member: &str) -> bool {
        let words = |value: &str| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(member));
        self.headers.iter().any(|(n, value)| n.eq_ignore_ascii_case(name) && words(value))
    }

    pub fn expects_continue(&self) -> bool {
        self.has("expect", "100-continue")
    }

    /// A request of its own, over and over: who takes the body for what comes next sends it on.
    pub fn body_bytes(&self, id: u64) -> Vec<u8> {
        let size = match &self.body {
            RequestBody::None => 0,
            RequestBody::Length(size) => *size,
            RequestBody::Chunks(sizes) => sizes.iter().sum(),
        };
        repeat(&format!("GET /smuggled/{id} HTTP/1.1\r\nHost: smuggled\r\n\r\n"), size)
    }

    pub fn head_bytes(&self, id: u64) -> Vec<u8> {
        let origin = if self.is_absolute { "http://absolute.example" } else { "" };
        let mut text = format!("{} {origin}/{}/{id} HTTP/1.{}\r\n", self.method, self.location, self.minor_version);
        text += &format!("Host: {ORIGINAL_HOST}\r\nX-Id: {id}\r\n");
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            RequestBody::None => (),
            RequestBody::Length(size) => text += &format!("Content-Length: {size}\r\n"),
            RequestBody::Chunks(_) => text += "Transfer-Encoding: chunked\r\n",
        }
        (text + "\r\n").into_bytes()
    }

    /// The body as it is on the wire.
    pub fn framed_body(&self, id: u64) -> Vec<u8> {
        let body = self.body_bytes(id);
        let RequestBody::Chunks(sizes) = &self.body else {
            return body;
        };
        let mut framed = Vec::new();
        let mut from = 0;
        for &size in sizes.iter().filter(|&&size| size > 0) {
            framed.extend(format!("{size:x}\r\n").into_bytes());
            framed.extend(&body[from..from + size]);
            framed.extend(b"\r\n");
            from += size;
        }
        framed.extend(b"0\r\n\r\n");
        framed
    }
}

impl Answer {
    pub fn has_no_body(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// A response of its own behind the id, over and over.
    pub fn body_bytes(&self, id: u64) -> Vec<u8> {
        repeat(&format!("<{id}>HTTP/1.1 299 Smuggled\r\nContent-Length: 0\r\n\r\n"), self.size)
    }
}

/// A value in the text form: no blanks.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(' ', "%20").replace('=', "%3d")
}

fn unescape(text: &str) -> String {
    text.replace("%3d", "=").replace("%20", " ").replace("%25", "%")
}

fn list(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

impl Display for Case {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "phases {}", self.phases.join(" "))?;
        if self.is_http2 {
            writeln!(f, "protocol http2")?;
        }
        self.script.iter().try_for_each(|line| writeln!(f, "script {line}"))?;
        self.exchanges.iter().try_for_each(|exchange| writeln!(f, "exchange {exchange}"))
    }
}

impl Display for Exchange {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { request, answer } = self;
        write!(f, "method={} location={} version=1.{}", request.method, request.location, request.minor_version)?;
        match &request.body {
            RequestBody::None => (),
            RequestBody::Length(size) => write!(f, " length={size}")?,
            RequestBody::Chunks(sizes) => write!(f, " chunks={}", list(sizes))?,
        }
        if request.is_absolute {
            write!(f, " absolute=1")?;
        }
        if request.is_pipelined {
            write!(f, " pipelined=1")?;
        }
        if !request.pieces.is_empty() {
            write!(f, " pieces={}", list(&request.pieces))?;
        }
        for (name, value) in &request.headers {
            write!(f, " header={name}:{}", escape(value))?;
        }
        let framing = match answer.framing {
            AnswerFraming::Length => "length",
            AnswerFraming::Chunked => "chunked",
            AnswerFraming::Trailers => "trailers",
            AnswerFraming::Close => "close",
            AnswerFraming::Cut => "cut",
        };
        write!(f, " status={} framing={framing} size={}", answer.status, answer.size)?;
        match answer.moment {
            Moment::After => (),
            Moment::Before => write!(f, " moment=before")?,
            Moment::Instead => write!(f, " moment=instead")?,
        }
        answer.headers.iter().try_for_each(|(name, value)| write!(f, " answer-header={name}:{}", escape(value)))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("phases", rest)) => case.phases = rest.split(' ').map(str::to_owned).collect(),
                Some(("protocol", "http2")) => case.is_http2 = true,
                Some(("script", rest)) => case.script.push(rest.to_owned()),
                Some(("exchange", rest)) => case.exchanges.push(rest.parse()?),
                _ => return Err(format!("`{line}` is none of phases, protocol http2, script, exchange")),
            }
        }
        Ok(case)
    }
}

impl FromStr for Exchange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut exchange = Self::default();
        let Self { request, answer } = &mut exchange;
        for word in text.split(' ') {
            let wrong = || format!("`{word}` is wrong in an exchange");
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let number = || value.parse::<usize>().map_err(|_| wrong());
            let numbers = || value.split(',').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<Vec<_>, _>>();
            let header = || {
                let (name, value) = value.split_once(':').ok_or_else(wrong)?;
                Ok::<_, String>((name.to_owned(), unescape(value)))
            };
            match key {
                "method" => request.method = value.into(),
                "location" => request.location = value.into(),
                "version" => request.minor_version = u8::from(value == "1.1"),
                "length" => request.body = RequestBody::Length(number()?),
                "chunks" => request.body = RequestBody::Chunks(numbers()?),
                "absolute" => request.is_absolute = true,
                "pipelined" => request.is_pipelined = true,
                "pieces" => request.pieces = numbers()?,
                "header" => request.headers.push(header()?),
                "status" => answer.status = value.parse().map_err(|_| wrong())?,
                "size" => answer.size = number()?,
                "answer-header" => answer.headers.push(header()?),
                "framing" => {
                    answer.framing = match value {
                        "length" => AnswerFraming::Length,
                        "chunked" => AnswerFraming::Chunked,
                        "trailers" => AnswerFraming::Trailers,
                        "close" => AnswerFraming::Close,
                        "cut" => AnswerFraming::Cut,
                        _ => return Err(wrong()),
                    }
                }
                "moment" => {
                    answer.moment = match value {
                        "before" => Moment::Before,
                        "instead" => Moment::Instead,
                        _ => return Err(wrong()),
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(exchange)
    }
}
