//! `proxy_send_local_response`.

use crate::{
    abi::{LogLevel, pairs},
    error::Trap,
    host::Host,
    hostcalls::{Call, Outcome},
    vm,
};

/// A response that the guest wants instead of the upstream's.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// 200..=999
    pub status: u16,
    /// Why, for the log: the property `response.code_details`.
    pub details: Vec<u8>,
    /// Additional headers in the guest's order; a name may stand several times.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Empty when the proxy's own page for the status is to be sent.
    pub body: Vec<u8>,
    /// The status for a client that speaks gRPC; -1 when it follows from `status`.
    pub grpc_status: i32,
}

/// The last reply of a callback counts; it is sent when the callback has returned.
#[expect(clippy::too_many_arguments, reason = "the ABI has eight")]
pub fn send_local_response<H: Host>(
    call: &mut Call<'_, H>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: u32,
) -> Outcome {
    if call.stream_to_change()?.is_none() {
        return Ok(());
    }
    let (memory, state) = call.memory()?;
    let headers = pairs::decode(memory.bytes(headers, headers_size)?)?;
    let (details, body) = (memory.bytes(details, details_size)?, memory.bytes(body, body_size)?);
    state.count_set(headers.len() + 1, details.len() + headers_size as usize)?;
    let limit = state.options.body_limit;
    if body.len() > limit {
        return Err(Trap::BodyLimit { desired: body.len(), limit }.into());
    }
    let headers = headers.into_iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let (details, body) = (details.to_vec(), body.to_vec());
    match u16::try_from(status) {
        Ok(status @ 200..=999) => {
            let reply = Box::new(LocalReply { status, details, headers, body, grpc_status: grpc_status.cast_signed() });
            if state.effective == state.current {
                state.reply = Some(reply);
            } else if !state.end_effective_stream(vm::Outcome::Reply(reply)) {
                call.log(LogLevel::Warn, format_args!("a local reply is not sent: the stream does not wait for one"));
            }
        }
        _ => call.log(
            LogLevel::Error,
            format_args!("proxy_send_local_response: status {status} is not sent, it must be in 200..=999"),
        ),
    }
    Ok(())
}
