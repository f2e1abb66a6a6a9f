//! The request of a call.

use std::time::Duration;

use crate::{Body, InvalidRequest, Request};

const USER_AGENT: &str = concat!("grpc-resty-wasm/", env!("CARGO_PKG_VERSION"));

/// The request of a call of `/service/method`.
///
/// `metadata` becomes headers. `content-type` and `te` in it are dropped, as is all that [`Request::new`] drops;
/// `grpc-timeout` is if there is a `timeout`; `user-agent` replaces that of this crate. The peer is told the timeout; nothing
/// here keeps it.
///
/// # Errors
///
/// The first part that breaks a rule of HTTP.
pub fn request(
    scheme: &str,
    authority: &[u8],
    service: &[u8],
    method: &[u8],
    metadata: &[(&[u8], &[u8])],
    timeout: Option<Duration>,
    body: Body,
) -> Result<Request, InvalidRequest> {
    let timeout = timeout.map(encode_timeout);
    let mut headers: Vec<(&[u8], &[u8])> = vec![(b"te", b"trailers"), (b"content-type", b"application/grpc")];
    headers.extend(timeout.iter().map(|timeout| (&b"grpc-timeout"[..], timeout.as_bytes())));
    if !metadata.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"user-agent")) {
        headers.push((b"user-agent", USER_AGENT.as_bytes()));
    }
    headers.extend(metadata.iter().filter(|(name, _)| !is_own(name, timeout.is_some())));
    let path = [b"/", service, b"/", method].concat();
    Request::new(b"POST", scheme, authority, &path, &headers, body)
}

fn is_own(name: &[u8], has_timeout: bool) -> bool {
    let is = |own: &[u8]| name.eq_ignore_ascii_case(own);
    is(b"te") || is(b"content-type") || has_timeout && is(b"grpc-timeout")
}

/// At least 1, at most 8 digits of the smallest unit that suffices, rounded up.
fn encode_timeout(timeout: Duration) -> String {
    const UNITS: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60 * 1_000_000_000, 'M'),
        (60 * 60 * 1_000_000_000, 'H'),
    ];
    const MOST: u128 = 99_999_999;
    let nanoseconds = timeout.as_nanos().max(1);
    UNITS
        .iter()
        .map(|(unit, name)| (nanoseconds.div_ceil(*unit), name))
        .find(|(number, _)| *number <= MOST)
        .map_or_else(|| format!("{MOST}H"), |(number, name)| format!("{number}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        for (timeout, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666667M"),
            (Duration::from_secs(6_000_000_000), "1666667H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(encode_timeout(timeout), expected);
        }
    }
}
