//! The headers that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6): nginx's business, whatever a
//! plugin makes of them.

/// Whether a header of a request, by its name in any case, frames it.
#[inline]
pub fn frames_request(name: &[u8]) -> bool {
    frames_any(name) || is(name, b"expect") || is(name, b"http2-settings")
}

/// Whether a header of a response, by its name in any case, frames it. ngx_lua takes `_` for `-` there.
#[inline]
pub fn frames_response(name: &[u8]) -> bool {
    match memchr::memchr(b'_', name) {
        Some(_) => frames_any(&with_dashes(name)),
        None => frames_any(name),
    }
}

/// Whether a header of a response is the length of its body.
#[inline]
pub fn is_length_of_response(name: &[u8]) -> bool {
    is(name, b"content-length") || is(name, b"content_length")
}

fn with_dashes(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect()
}

#[inline]
fn frames_any(name: &[u8]) -> bool {
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

/// # Errors
/// When the next hop could not read a header of this name and this value: RFC 9110 §5.1, §5.5.
pub fn check(name: &[u8], value: &[u8]) -> Result<(), String> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if let Some(byte) = name.iter().find(|byte| !is_token(byte)) {
        return Err(format!("invalid char \"{}\" in the name", byte.escape_ascii()));
    }
    match value.iter().find(|byte| byte.is_ascii_control() && **byte != b'\t') {
        Some(byte) => Err(format!("invalid char \"{}\" in the value", byte.escape_ascii())),
        None => Ok(()),
    }
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
}
