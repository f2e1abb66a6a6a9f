//! The headers that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6): nginx's business, whatever a
//! plugin makes of them.

use std::borrow::Cow;

use proxy_wasm_runtime::{HeaderChange, abi::pairs::Pair};

/// How many bytes of names and values the framing headers of one request can have.
pub const LARGEST: usize = 64 << 10;

/// The headers that frame a request as its plugins see them, once one of them has changed them: names in lower case, values.
#[derive(Clone)]
pub struct Framing(Vec<Header>);

/// Name and value.
type Header = (Box<[u8]>, Box<[u8]>);

impl Framing {
    /// As the client sent them, with names in lower case.
    pub fn new<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        Self(headers.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// The first of the name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| is(other, name)).map(|(_, value)| value.as_ref())
    }

    /// All, in the order in which they came.
    pub fn into_pairs<'a>(self) -> impl Iterator<Item = Pair<'a>> {
        self.0.into_iter().map(|(name, value)| (Cow::Owned(name.into_vec()), Cow::Owned(value.into_vec())))
    }

    /// Changes one. An empty value that replaces another removes it, as with all request headers.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn change(&mut self, name: &[u8], change: HeaderChange<'_>) -> Result<(), String> {
        let (HeaderChange::Add(value) | HeaderChange::Replace(value)) = change else {
            self.remove(name);
            return Ok(());
        };
        let size: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size + name.len() + value.len() > LARGEST {
            return Err(format!("the headers that frame a request have {LARGEST} bytes in all"));
        }
        if matches!(change, HeaderChange::Replace(_)) {
            self.remove(name);
        }
        if !matches!(change, HeaderChange::Replace(b"")) {
            self.0.push((name.to_ascii_lowercase().into(), value.into()));
        }
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(other, _)| !is(other, name));
    }
}

/// Whether a header of a request, by its name in any case, frames it.
#[inline]
pub fn frames_request(name: &[u8]) -> bool {
    match name.len() {
        6 => is(name, b"expect"),
        14 => is(name, b"content-length") || is(name, b"http2-settings"),
        _ => frames(name, is),
    }
}

/// Whether a header of a response, by its name in any case, frames it. ngx_lua takes `_` for `-` there.
#[inline]
pub fn frames_response(name: &[u8]) -> bool {
    frames(name, is_with_underscores)
}

/// Whether a header of a response is the length of its body.
#[inline]
pub fn is_length_of_response(name: &[u8]) -> bool {
    is_with_underscores(name, b"content-length")
}

#[inline]
fn frames(name: &[u8], is: fn(&[u8], &[u8]) -> bool) -> bool {
    match name.len() {
        2 => is(name, b"te"),
        7 => is(name, b"upgrade") || is(name, b"trailer"),
        10 => is(name, b"connection") || is(name, b"keep-alive"),
        14 => is(name, b"content-length"),
        16 => is(name, b"proxy-connection"),
        17 => is(name, b"transfer-encoding"),
        _ => false,
    }
}

#[inline]
fn is(name: &[u8], other: &[u8]) -> bool {
    name.eq_ignore_ascii_case(other)
}

#[inline]
fn is_with_underscores(name: &[u8], other: &[u8]) -> bool {
    let letter = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == other.len() && name.iter().map(letter).eq(other.iter().copied())
}

/// # Errors
/// When the next hop could not read a header of this name and this value: RFC 9110 §5.1, §5.5.
pub fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if let Some(byte) = name.iter().find(|byte| !is_token(**byte)) {
        return Err(format!("invalid char \"{}\" in the name", byte.escape_ascii()));
    }
    match value.iter().find(|byte| byte.is_ascii_control() && **byte != b'\t') {
        Some(byte) => Err(format!("invalid char \"{}\" in the value", byte.escape_ascii())),
        None => Ok(()),
    }
}

/// Whether a token may have this byte: RFC 9110 §5.6.2.
#[inline]
pub fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut token = [false; 256];
        let others = b"!#$%&'*+-.^_`|~";
        let mut byte = 0;
        while byte < 128 {
            token[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            token[others[at] as usize] = true;
            at += 1;
        }
        token
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_a_response_is_known_in_any_case_and_with_underscores() {
        assert!(frames_response(b"Transfer_Encoding"));
        assert!(frames_response(b"TE"));
        assert!(!frames_response(b"x-connection"));
        assert!(is_length_of_response(b"Content_Length"));
        assert!(!is_length_of_response(b"content-lengths"));
    }

    #[test]
    fn names_are_tokens_and_values_have_no_control_characters_but_the_tab() {
        assert_eq!(check(b"x-ok", b"a\tb \xff"), Ok(()));
        assert_eq!(check(b"", b"a").unwrap_err(), "the name is empty");
        assert_eq!(check(b"a b", b"").unwrap_err(), "invalid char \" \" in the name");
        assert_eq!(check(b"a", b"1\r\nb: 2").unwrap_err(), "invalid char \"\\r\" in the value");
        assert_eq!(check(b"a", b"\x7f").unwrap_err(), "invalid char \"\\x7f\" in the value");
    }

    fn pairs(framing: &Framing) -> Vec<(String, String)> {
        let text = |text: Cow<'_, [u8]>| String::from_utf8(text.into_owned()).unwrap();
        framing.clone().into_pairs().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn changes_are_those_of_a_header_map() {
        let client = [(&b"content-length"[..], &b"5"[..]), (b"te", b"a"), (b"te", b"b")];
        let mut framing = Framing::new(client.into_iter());
        framing.change(b"Content-Length", HeaderChange::Remove).unwrap();
        framing.change(b"TE", HeaderChange::Replace(b"c")).unwrap();
        framing.change(b"Connection", HeaderChange::Add(b"")).unwrap();
        framing.change(b"upgrade", HeaderChange::Replace(b"")).unwrap();
        assert_eq!(pairs(&framing), [("te".into(), "c".into()), ("connection".into(), String::new())]);
        assert_eq!((framing.get(b"Te"), framing.get(b"content-length"), framing.len()), (Some(&b"c"[..]), None, 2));
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let mut framing = Framing::new(std::iter::empty());
        framing.change(b"te", HeaderChange::Add(&[b'x'; LARGEST - 2])).unwrap();
        framing.change(b"te", HeaderChange::Add(b"")).unwrap_err();
        framing.change(b"te", HeaderChange::Remove).unwrap();
        framing.change(b"te", HeaderChange::Add(b"")).unwrap();
    }
}
