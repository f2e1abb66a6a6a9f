//! `proxy_http_call`.

use std::time::Duration;

use crate::{
    abi::{LogLevel, Status, pairs},
    callout::{Callout, Headers, HttpCall},
    error::Failure,
    host::Host,
    hostcalls::{Call, Outcome},
};

/// The answer comes as `proxy_on_http_call_response`, once, also when there is none. A timeout of 0 ms is none.
#[expect(clippy::too_many_arguments, reason = "the ABI has ten")]
pub fn http_call<H: Host>(
    call: &mut Call<'_, H>,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (memory, state) = call.memory()?;
    memory.bytes(token_out, 4)?;
    let upstream = memory.name(upstream, upstream_size)?.to_vec();
    let headers = owned_headers(memory.bytes(headers, headers_size)?)?;
    let body = memory.bytes(body, body_size)?;
    let trailers = owned_headers(memory.bytes(trailers, trailers_size)?)?;
    let size = headers_size as usize + body_size as usize + trailers_size as usize;
    if !state.admits_callout_bytes(size) {
        return Err(Status::InternalFailure.into());
    }
    let callout = HttpCall { upstream, headers, body: body.to_vec(), trailers, timeout: milliseconds(timeout) };
    if is_negative(timeout) {
        call.log(LogLevel::Error, format_args!("invalid timeout: {}", timeout.cast_signed()));
        return Err(Status::InternalFailure.into());
    }
    match call.state_mut().start_callout(Callout::Http(callout), size) {
        Ok(token) => Ok(call.memory()?.0.write_u32(token_out, token)?),
        Err(refusal) => {
            call.log(LogLevel::Error, format_args!("{refusal}"));
            Err(refusal.http_status().into())
        }
    }
}

/// A timeout of a guest: none for 0.
pub(super) fn milliseconds(timeout: u32) -> Option<Duration> {
    (timeout != 0).then(|| Duration::from_millis(timeout.into()))
}

/// Whether a timeout is one that nobody means.
pub(super) fn is_negative(timeout: u32) -> bool {
    timeout.cast_signed() < 0
}

/// Headers out of a guest's memory.
pub(super) fn owned_headers(blob: &[u8]) -> Result<Headers, Failure> {
    Ok(pairs::decode(blob)?.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}
