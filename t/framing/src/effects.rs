//! What a script may do to messages, so that everything else must stay as it was.

use crate::case::Case;

/// Headers that a plugin may see and edit without any effect on how messages are framed.
pub const FRAMING: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
];

/// What the client sends.
pub const ORIGINAL_HOST: &str = "original.example";

#[derive(Debug, Default, Clone)]
pub struct Effects {
    /// The client may get another answer than that of the location.
    pub answers: bool,
    /// The request may come to the upstream as another one, or not at all.
    pub request: bool,
    /// The host that the upstream must get, where it is the one of the headers; none where it is not known.
    pub host: Option<String>,
    /// The upstream may get a request in which nothing tells whose it is.
    pub anonymous: bool,
    pub request_body: BodyEffect,
    /// The status or the headers, so that the response may have another meaning.
    pub response: bool,
    pub response_body: bool,
    /// The response may end before its length, and its connection with it.
    pub cuts: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum BodyEffect {
    #[default]
    None,
    /// These replacements, one after the other: start, size, and what is put there.
    Edits(Vec<(u32, u32, Vec<u8>)>),
    Unknown,
}

impl Effects {
    pub fn of(case: &Case) -> Self {
        let mut effects = Self { host: Some(ORIGINAL_HOST.into()), ..Self::default() };
        for line in &case.script {
            if let Some((callback, rest)) = line.split_once(": ") {
                let words: Vec<&str> = rest.split(' ').collect();
                effects.add(case, callback, &words);
            }
        }
        effects
    }

    fn add(&mut self, case: &Case, callback: &str, words: &[&str]) {
        let is_request = callback.starts_with("request_");
        let is_response = callback.starts_with("response_");
        let runs = match callback {
            "request_headers" | "request_body" | "response_headers" | "response_body" => {
                case.phases.iter().any(|phase| phase == callback)
            }
            // Behind all that it could change.
            "log" => false,
            _ => true,
        };
        if !runs {
            return;
        }
        let word = |i: usize| words.get(i).copied().unwrap_or_default();
        match word(0) {
            "at_end" | "before_end" => {
                // One part of the body is not the whole.
                let before = self.request_body.clone();
                self.add(case, callback, &words[1..]);
                if self.request_body != before {
                    self.request_body = BodyEffect::Unknown;
                }
            }
            "add_header" | "replace_header" | "remove_header" => self.add_header(is_response, words),
            "set_headers" if word(1) == "request" => {
                self.host = None;
                self.request = true;
                self.anonymous = true;
            }
            "set_headers" => {
                self.response = true;
                self.cuts |= words.iter().any(|word| word.starts_with("content-length"));
            }
            "set_body" | "double" if word(1) == "response" => {
                self.response_body = true;
                self.cuts = true;
            }
            "set_body" if callback == "request_body" => self.add_edit(word(2), word(3), word(4)),
            "set_body" | "double" => self.request_body = BodyEffect::Unknown,
            "set_property" => {
                self.host = None;
                self.request = true;
                self.response |= is_response;
            }
            "send_local_response" | "send_grpc_response" => {
                self.answers = true;
                self.cuts |= is_response;
            }
            "trap" | "panic" | "close_stream" => {
                self.answers = true;
                self.cuts |= is_response;
            }
            _ => (),
        }
        // What has answered a request has not read its body, or not all of it.
        if is_request && self.answers {
            self.request = true;
        }
    }

    fn add_header(&mut self, is_response: bool, words: &[&str]) {
        let (command, map) = (words[0], words.get(1).copied().unwrap_or_default());
        let name = words.get(2).copied().unwrap_or_default().to_ascii_lowercase();
        if map == "request" && matches!(name.as_str(), ":authority" | "host") {
            let value = words.get(3).copied().unwrap_or_default();
            let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
            // Two changes, or one that may be refused, are the library's tests' matter.
            let is_first = self.host.as_deref() == Some(ORIGINAL_HOST);
            self.host = (is_first && is_plain && !is_response && command == "replace_header").then(|| value.to_owned());
        }
        let is_framing = FRAMING.contains(&name.as_str());
        let is_own = name.starts_with("x-");
        match map {
            "request" if is_framing || is_own || name == ":scheme" => (),
            "request" => {
                self.request = true;
                self.response |= is_response;
            }
            "response" if name == "content-length" => self.cuts |= command != "remove_header",
            "response" if is_framing || is_own || name == "content-type" => (),
            "response" => self.response = true,
            _ => (),
        }
    }

    fn add_edit(&mut self, start: &str, size: &str, value: &str) {
        let number = |text: &str| text.parse::<i64>().map(|number| number as u32);
        let is_plain = value == "\"\"" || !value.is_empty() && !value.contains(['"', '\\']);
        let (Ok(start), Ok(size), true) = (number(start), number(size), is_plain) else {
            self.request_body = BodyEffect::Unknown;
            return;
        };
        let edit = (start, size, value.trim_matches('"').as_bytes().to_vec());
        match &mut self.request_body {
            BodyEffect::None => self.request_body = BodyEffect::Edits(vec![edit]),
            BodyEffect::Edits(edits) => edits.push(edit),
            BodyEffect::Unknown => (),
        }
    }

    /// The body that the upstream must get, where that is known.
    pub fn request_body(&self, sent: Vec<u8>) -> Option<Vec<u8>> {
        match &self.request_body {
            BodyEffect::None => Some(sent),
            BodyEffect::Unknown => None,
            BodyEffect::Edits(edits) => {
                let mut body = sent;
                for (start, size, value) in edits {
                    let start = (*start as usize).min(body.len());
                    let end = start.saturating_add(*size as usize).min(body.len());
                    body.splice(start..end, value.iter().copied());
                }
                Some(body)
            }
        }
    }
}
