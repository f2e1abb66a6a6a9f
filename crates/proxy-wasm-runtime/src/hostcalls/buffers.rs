//! `proxy_get_configuration`, `proxy_get_buffer_bytes`, `proxy_get_buffer_status`, `proxy_set_buffer_bytes`.

use std::sync::Arc;

use crate::{
    abi::{BufferType, LogLevel, Status},
    error::Trap,
    host::{Host, HttpStream},
    hostcalls::{Call, Outcome},
    vm::Answer,
};

/// ABI 0.1.0: in `proxy_on_vm_start` the VM configuration, elsewhere the plugin configuration.
pub fn get_configuration<H: Host>(call: &mut Call<'_, H>, pointer_out: u32, size_out: u32) -> Outcome {
    if call.state().starting {
        let configuration = call.state().options.vm_configuration.clone();
        return call.return_bytes(&configuration, pointer_out, size_out);
    }
    let configuration = plugin_configuration(call).ok_or(Status::NotFound)?;
    call.return_bytes(&configuration, pointer_out, size_out)
}

/// What is outside of the buffer is not found; a range that ends behind it is cut.
pub fn get_buffer_bytes<H: Host>(
    call: &mut Call<'_, H>,
    buffer: u32,
    start: u32,
    max_size: u32,
    pointer_out: u32,
    size_out: u32,
) -> Outcome {
    with_buffer(call, buffer, |call, bytes| {
        let part = bytes.get(start as usize..).unwrap_or_default();
        let part = &part[..part.len().min(max_size as usize)];
        if part.is_empty() {
            return Err(Status::NotFound.into());
        }
        call.return_bytes(part, pointer_out, size_out)
    })
}

/// The flags are always 0: the ABI defines none.
pub fn get_buffer_status<H: Host>(call: &mut Call<'_, H>, buffer: u32, size_out: u32, flags_out: u32) -> Outcome {
    with_buffer(call, buffer, |call, bytes| {
        let (mut memory, _) = call.memory()?;
        memory.write_u32(size_out, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
        memory.write_u32(flags_out, 0)?;
        Ok(())
    })
}

/// Puts `value` in the place of the `size` bytes at `start` of the body: (0, 0) prepends, a start at or behind the end appends.
/// Other buffers can't be changed, and a body only in its own callback.
pub fn set_buffer_bytes<H: Host>(
    call: &mut Call<'_, H>,
    buffer: u32,
    start: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Outcome {
    let buffer = BufferType::try_from(buffer).map_err(|()| Status::BadArgument)?;
    let Some(stream) = call.stream_to_change()? else { return Ok(()) };
    let is_body = matches!(buffer, BufferType::RequestBody | BufferType::ResponseBody);
    let (memory, state) = call.memory()?;
    let limit = state.options.body_limit;
    if buffer == BufferType::RequestBody
        && let Some((body, is_changed)) = state.paused_body()
    {
        replace_range(body, start, size, memory.bytes(value, value_size)?, limit)?;
        *is_changed = true;
        return Ok(());
    }
    if !is_body || !call.state().in_body || call.state().effective != call.state().current {
        call.log(
            LogLevel::Error,
            format_args!("proxy_set_buffer_bytes: {buffer:?} can't be changed, only a body can, in its own callback"),
        );
        return Ok(());
    }
    let (memory, state) = call.memory()?;
    let value = memory.bytes(value, value_size)?;
    let body = state.body.get_or_insert_with(|| stream.body().unwrap_or_default().to_vec());
    Ok(replace_range(body, start, size, value, limit)?)
}

/// # Errors
/// When the body grows beyond `limit` bytes by it.
fn replace_range(body: &mut Vec<u8>, start: u32, size: u32, value: &[u8], limit: usize) -> Result<(), Trap> {
    let start = (start as usize).min(body.len());
    let end = start.saturating_add(size as usize).min(body.len());
    let desired = body.len() - (end - start) + value.len();
    if desired > limit && desired > body.len() {
        return Err(Trap::BodyLimit { desired, limit });
    }
    body.splice(start..end, value.iter().copied());
    Ok(())
}

/// Runs `read` with the buffer that the guest named.
///
/// Both body types name the body of the callback that runs: a plugin for wasm-nginx-module may ask for the request body
/// while it handles the response's.
fn with_buffer<H: Host>(
    call: &mut Call<'_, H>,
    buffer: u32,
    read: impl FnOnce(&mut Call<'_, H>, &[u8]) -> Outcome,
) -> Outcome {
    match BufferType::try_from(buffer).map_err(|()| Status::BadArgument)? {
        BufferType::RequestBody | BufferType::ResponseBody => {
            let stream = call.stream()?.ok_or(Status::NotFound)?;
            if let Some(paused) = call.state_mut().paused_body().map(|(body, _)| std::mem::take(body)) {
                let outcome = read(call, &paused);
                if let Some((body, _)) = call.state_mut().paused_body() {
                    *body = paused;
                }
                return outcome;
            }
            // Taken out for the call: the guest's allocator runs meanwhile.
            let Some(changed) = call.state_mut().body.take() else {
                return read(call, stream.body().ok_or(Status::NotFound)?);
            };
            let outcome = read(call, &changed);
            call.state_mut().body = Some(changed);
            outcome
        }
        BufferType::PluginConfiguration => {
            let configuration = plugin_configuration(call).ok_or(Status::NotFound)?;
            read(call, &configuration)
        }
        BufferType::VmConfiguration => {
            let configuration = call.state().options.vm_configuration.clone();
            read(call, &configuration)
        }
        BufferType::ForeignFunctionArguments => {
            let arguments = call.state().foreign_arguments.clone().ok_or(Status::NotFound)?;
            read(call, &arguments)
        }
        BufferType::HttpCallResponseBody => with_answer(call, Answer::body, read),
        BufferType::GrpcMessage => with_answer(call, Answer::message, read),
        BufferType::DownstreamData | BufferType::UpstreamData => Err(Status::NotFound.into()),
    }
}

fn with_answer<H: Host>(
    call: &mut Call<'_, H>,
    part: impl FnOnce(&Answer) -> Option<&[u8]>,
    read: impl FnOnce(&mut Call<'_, H>, &[u8]) -> Outcome,
) -> Outcome {
    // Taken out for the call: the guest's allocator runs meanwhile.
    let answer = call.state_mut().answer.take().ok_or(Status::NotFound)?;
    let outcome = part(&answer).map_or(Err(Status::NotFound.into()), |bytes| read(call, bytes));
    call.state_mut().answer = Some(answer);
    outcome
}

fn plugin_configuration<H: Host>(call: &Call<'_, H>) -> Option<Arc<[u8]>> {
    let state = call.state();
    state.contexts.plugin_of(state.effective).map(|plugin| plugin.configuration.clone())
}
