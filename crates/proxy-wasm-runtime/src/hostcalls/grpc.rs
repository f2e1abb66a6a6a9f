//! `proxy_grpc_call`, `proxy_grpc_stream`, `proxy_grpc_send`, `proxy_grpc_cancel` and `proxy_grpc_close`.

use super::http_call::{is_negative, milliseconds, owned_headers};
use crate::{
    abi::{LogLevel, Status, grpc_service::GrpcService},
    callout::{Callout, GrpcCall, Kind},
    host::Host,
    hostcalls::{Call, Outcome},
};

/// The answer comes as `proxy_on_grpc_receive`, or `proxy_on_grpc_close` when the call fails. A timeout of 0 ms is none.
#[expect(clippy::too_many_arguments, reason = "the ABI has twelve")]
pub fn grpc_call<H: Host>(
    call: &mut Call<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
    let timeout = Some(timeout);
    start(call, names, (metadata, metadata_size), Some((message, message_size)), timeout, token_out)
}

/// As [`grpc_call`] of AssemblyScript's SDK, which has no metadata.
#[expect(clippy::too_many_arguments, reason = "the SDK has ten")]
pub fn grpc_call_without_metadata<H: Host>(
    call: &mut Call<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    token_out: u32,
) -> Outcome {
    let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
    start(call, names, (0, 0), Some((message, message_size)), Some(timeout), token_out)
}

/// Messages go out by [`grpc_send`]; what comes back is told by the gRPC callbacks, `proxy_on_grpc_close` last.
#[expect(clippy::too_many_arguments, reason = "the ABI has nine")]
pub fn grpc_stream<H: Host>(
    call: &mut Call<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    token_out: u32,
) -> Outcome {
    let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
    start(call, names, (metadata, metadata_size), None, None, token_out)
}

/// As [`grpc_stream`] of AssemblyScript's SDK, which has no metadata.
#[expect(clippy::too_many_arguments, reason = "the SDK has seven")]
pub fn grpc_stream_without_metadata<H: Host>(
    call: &mut Call<'_, H>,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    token_out: u32,
) -> Outcome {
    let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
    start(call, names, (0, 0), None, None, token_out)
}

/// Starts a call, or without a message a stream. Names, metadata and message are pointer and size.
fn start<H: Host>(
    call: &mut Call<'_, H>,
    [upstream, service, method]: [(u32, u32); 3],
    metadata: (u32, u32),
    message: Option<(u32, u32)>,
    timeout: Option<u32>,
    token_out: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (memory, state) = call.memory()?;
    memory.bytes(token_out, 4)?;
    let upstream = GrpcService::parse(memory.name(upstream.0, upstream.1)?);
    let (service, method) = (memory.name(service.0, service.1)?.to_vec(), memory.name(method.0, method.1)?.to_vec());
    let size = metadata.1 as usize + message.map_or(0, |message| message.1 as usize);
    let metadata = [upstream.metadata, owned_headers(memory.bytes(metadata.0, metadata.1)?)?].concat();
    let message = message.map(|(pointer, size)| memory.bytes(pointer, size)).transpose()?;
    if !state.admits_callout_bytes(size) {
        return Err(Status::InternalFailure.into());
    }
    let callout = GrpcCall {
        service,
        method,
        metadata,
        message: message.map(<[u8]>::to_vec),
        // That of the service is for calls.
        timeout: timeout.and_then(|timeout| milliseconds(timeout).or(upstream.timeout)),
        upstream: upstream.name,
        is_encrypted: upstream.is_encrypted,
        authority: upstream.authority,
    };
    if let Some(timeout) = timeout.filter(|timeout| is_negative(*timeout)) {
        call.log(LogLevel::Error, format_args!("invalid timeout: {}", timeout.cast_signed()));
        return Err(Status::InternalFailure.into());
    }
    match call.state_mut().start_callout(Callout::Grpc(callout), size) {
        Ok(token) => Ok(call.memory()?.0.write_u32(token_out, token)?),
        Err(refusal) => {
            call.log(LogLevel::Error, format_args!("{refusal}"));
            Err(refusal.grpc_status().into())
        }
    }
}

/// Sends a message on a stream; with `end_of_stream` it is the last one. One for which there is no room is a bad argument: SDKs
/// expect no other status.
pub fn grpc_send<H: Host>(
    call: &mut Call<'_, H>,
    token: u32,
    message: u32,
    message_size: u32,
    end_of_stream: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let callout = call.state().contexts.callouts.get(&token).ok_or(Status::NotFound)?;
    if callout.kind != Kind::GrpcStream || callout.is_half_closed {
        return Err(Status::BadArgument.into());
    }
    let (memory, state) = call.memory()?;
    let message = memory.bytes(message, message_size)?;
    if !state.admits_callout_bytes(message.len()) {
        return Err(Status::BadArgument.into());
    }
    state.contexts.add_callout_bytes(token, message.len());
    // The Rust SDK has no message when it only ends the stream.
    let message = if message.is_empty() && end_of_stream != 0 { None } else { Some(message) };
    state.host.send_grpc_message(token, message, end_of_stream != 0);
    state.contexts.set_half_closed(token, end_of_stream != 0);
    Ok(())
}

/// Ends a call or a stream at once: nothing more is told of it.
pub fn grpc_cancel<H: Host>(call: &mut Call<'_, H>, token: u32) -> Outcome {
    call.check_unrestricted()?;
    let state = call.state_mut();
    let callout = state.contexts.callouts.get(&token).filter(|callout| callout.kind != Kind::Http);
    callout.ok_or(Status::NotFound)?;
    state.contexts.remove_callout(token);
    state.host.cancel_callout(token);
    Ok(())
}

/// Ends a call as [`grpc_cancel`] does. To a stream it says that no more messages will be sent; some may still come.
pub fn grpc_close<H: Host>(call: &mut Call<'_, H>, token: u32) -> Outcome {
    let callout = call.state().contexts.callouts.get(&token).ok_or(Status::NotFound)?;
    if callout.kind != Kind::GrpcStream {
        return grpc_cancel(call, token);
    }
    call.check_unrestricted()?;
    if !callout.is_half_closed {
        let state = call.state_mut();
        state.host.send_grpc_message(token, None, true);
        state.contexts.set_half_closed(token, true);
    }
    Ok(())
}
