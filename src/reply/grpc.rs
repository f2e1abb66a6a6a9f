//! What gRPC wants of a reply.

/// How much of a reply's text gets into `grpc-message`: clients take some KiB of headers.
const LONGEST_MESSAGE: usize = 4096;

/// The status of gRPC for one of HTTP: <https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html>
pub fn status_of_http(status: u16) -> i32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// As gRPC wants it (PROTOCOL-HTTP2.md, Percent-Encoded), not longer than [`LONGEST_MESSAGE`].
pub fn percent_encode(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        // Blanks at the ends are no part of a header's value.
        let is_end = at == 0 || at + 1 == text.len();
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.extend(format!("%{byte:02X}").into_bytes()),
            b' ' if is_end => encoded.extend(b"%20"),
            byte => encoded.push(*byte),
        }
        if encoded.len() > LONGEST_MESSAGE - 3 {
            break;
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_message_is_percent_encoded_and_bounded() {
        assert_eq!(percent_encode(b"no good%\xe4\n ~"), b"no good%25%E4%0A ~");
        assert_eq!(percent_encode(b" a b "), b"%20a b%20");
        let longest = percent_encode(&[b'%'; 100_000]);
        assert!(longest.len() <= LONGEST_MESSAGE && longest.ends_with(b"%25"));
    }

    #[test]
    fn statuses_of_http_are_mapped_as_grpc_has_it() {
        let mapped = [400, 401, 403, 404, 429, 500, 502, 503, 504, 200].map(status_of_http);
        assert_eq!(mapped, [13, 16, 7, 12, 14, 2, 14, 14, 14, 2]);
    }
}
