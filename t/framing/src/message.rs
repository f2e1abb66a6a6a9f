//! HTTP/1 as it must be on the wire. What a lenient parser would forgive is a fault here.

use std::io::{ErrorKind, Read};

/// Why no message could be read.
#[derive(Debug)]
pub enum Fault {
    /// The connection ended, before the first byte of a message.
    End,
    /// The connection ended inside of a message.
    Cut,
    /// Nothing came for as long as the watchdog waits.
    Waiting,
    Malformed(String),
}

fn malformed<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(why.into()))
}

/// Names and values.
pub type Headers = Vec<(String, String)>;

/// The first line and the headers, names as they were written.
#[derive(Debug, Clone)]
pub struct Head {
    pub line: String,
    pub headers: Headers,
}

impl Head {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of a header that must not be there twice.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Fault> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(second) => malformed(format!("{name} twice: `{}` and `{second}`", first.unwrap_or_default())),
        }
    }

    pub fn names(&self, name: &str, member: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(member))
    }

    /// Nothing twice that a client takes one of, and nothing that a value has brought in.
    pub fn check(&self) -> Result<(), Fault> {
        for name in ["connection", "keep-alive", "content-length", "transfer-encoding", "date", "upgrade", "trailer"] {
            self.one(name)?;
        }
        match self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-injected")) {
            Some((name, _)) => malformed(format!("{name}, which a value has brought in")),
            None => Ok(()),
        }
    }

    /// How long the message says that its body is, which must not be said twice.
    pub fn framing(&self) -> Result<Option<Framing>, Fault> {
        let length = self.one("content-length")?;
        let coding = self.one("transfer-encoding")?;
        match (length, coding) {
            (Some(length), Some(coding)) => {
                malformed(format!("both content-length {length} and transfer-encoding {coding}"))
            }
            (Some(length), None) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                match length.parse() {
                    Ok(length) => Ok(Some(Framing::Length(length))),
                    Err(_) => malformed(format!("content-length `{length}`")),
                }
            }
            (Some(length), None) => malformed(format!("content-length `{length}`")),
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            (None, Some(coding)) => malformed(format!("transfer-encoding `{coding}`")),
            (None, None) => Ok(None),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

const LONGEST_HEAD: usize = 128 * 1024;
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// Reads messages and keeps what it has read since the last `forget`.
pub struct Reader<R> {
    source: R,
    seen: Vec<u8>,
    at: usize,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self { source, seen: Vec::new(), at: 0 }
    }

    /// What has been read, also what no message has taken yet.
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub fn forget(&mut self) {
        self.seen.drain(..self.at);
        self.at = 0;
    }

    fn fill(&mut self) -> Result<(), Fault> {
        let mut buffer = [0; 16384];
        match self.source.read(&mut buffer) {
            Ok(0) => Err(Fault::End),
            Ok(count) => {
                self.seen.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(Fault::Waiting),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Fault::End),
        }
    }

    fn more(&mut self) -> Result<(), Fault> {
        match self.fill() {
            Err(Fault::End) => Err(Fault::Cut),
            other => other,
        }
    }

    /// A line without its CR LF; both must be there, and no other control character but tabs.
    fn line(&mut self) -> Result<String, Fault> {
        let mut from = self.at;
        let end = loop {
            if let Some(end) = self.seen[from..].iter().position(|&byte| byte == b'\n') {
                break from + end;
            }
            from = self.seen.len();
            if from - self.at > LONGEST_HEAD {
                return malformed("a line without an end");
            }
            if self.seen.len() == self.at { self.fill()? } else { self.more()? }
        };
        let line = &self.seen[self.at..end];
        let Some(line) = line.strip_suffix(b"\r") else {
            return malformed(format!("a line that ends without CR: {}", show(line)));
        };
        if line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return malformed(format!("a control character in {}", show(line)));
        }
        let line = line.iter().map(|&byte| char::from(byte)).collect();
        self.at = end + 1;
        Ok(line)
    }

    /// The line that comes next, which is not taken.
    pub fn peek_line(&mut self) -> Result<String, Fault> {
        let at = self.at;
        let line = self.line();
        self.at = at;
        line
    }

    fn headers(&mut self) -> Result<Headers, Fault> {
        let mut headers = Vec::new();
        loop {
            let line = match self.line() {
                Err(Fault::End) => return Err(Fault::Cut),
                line => line?,
            };
            if line.is_empty() {
                return Ok(headers);
            }
            let Some((name, value)) = line.split_once(':') else {
                return malformed(format!("a header without a colon: `{line}`"));
            };
            if name.is_empty() || !name.bytes().all(is_token) {
                return malformed(format!("the header name `{name}`"));
            }
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    pub fn head(&mut self) -> Result<Head, Fault> {
        Ok(Head { line: self.line()?, headers: self.headers()? })
    }

    /// The body and the trailers.
    pub fn body(&mut self, framing: Framing) -> Result<(Vec<u8>, Headers), Fault> {
        match framing {
            Framing::Length(length) => Ok((self.take(length)?, Vec::new())),
            Framing::UntilClose => loop {
                match self.fill() {
                    Err(Fault::End) => {
                        let body = self.seen[self.at..].to_vec();
                        self.at = self.seen.len();
                        return Ok((body, Vec::new()));
                    }
                    other => other?,
                }
            },
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    let line = match self.line() {
                        Err(Fault::End) => return Err(Fault::Cut),
                        line => line?,
                    };
                    let digits = line.split(';').next().unwrap_or_default();
                    let Ok(size) = usize::from_str_radix(digits, 16) else {
                        return malformed(format!("the chunk size `{line}`"));
                    };
                    if size == 0 {
                        return Ok((body, self.headers()?));
                    }
                    body.extend(self.take(size)?);
                    if self.take(2)? != b"\r\n" {
                        return malformed("a chunk that is longer than its size says");
                    }
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        if count > LONGEST_BODY {
            return malformed(format!("{count} bytes"));
        }
        while self.seen.len() - self.at < count {
            self.more()?;
        }
        let taken = self.seen[self.at..self.at + count].to_vec();
        self.at += count;
        Ok(taken)
    }

    /// Nothing more may come but the connection's end.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.at == self.seen.len() {
            match self.fill() {
                Ok(()) => (),
                Err(Fault::End) => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        malformed(format!("bytes that belong to no message: {}", show(&self.seen[self.at..])))
    }
}

pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Bytes for people, not too many of them.
pub fn show(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    let text: String =
        bytes.iter().take(MOST).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
    let text = text.replace("\\r\\n", "\\r\\n\n      ").replace("\\'", "'").replace("\\\"", "\"");
    if bytes.len() > MOST { format!("{text} … {} bytes in all", bytes.len()) } else { text }
}
