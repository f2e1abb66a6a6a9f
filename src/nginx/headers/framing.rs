//! The headers that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6): nginx's business, whatever a
//! plugin makes of them.

/// Whether a header of a request, by its name in any case, frames it.
#[inline]
pub fn frames_request(name: &[u8]) -> bool {
    frames_any(name) || is(name, b"expect") || is(name, b"http2-settings")
}

/// Whether a header of a response, by its name in any case, frames it.
#[inline]
pub fn frames_response(name: &[u8]) -> bool {
    frames_any(name)
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
