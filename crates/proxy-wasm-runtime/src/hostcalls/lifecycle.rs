//! `proxy_set_effective_context`, `proxy_done`, `proxy_get_status` and what tells the proxy to go on, or not to.

use crate::{
    abi::{LogLevel, Status},
    context::Waiting,
    host::Host,
    hostcalls::{Call, Outcome},
    vm::{self, Answer},
};

/// `PROXY_STREAM_TYPE_HTTP_REQUEST`
const REQUEST: u32 = 0;

/// The choice ends with the callback that made it.
pub fn set_effective_context<H: Host>(call: &mut Call<'_, H>, context: u32) -> Outcome {
    let state = call.state_mut();
    if !state.contexts.contains(context) {
        return Err(Status::BadArgument.into());
    }
    state.note_kept();
    state.act_on(context);
    Ok(())
}

/// Ends the plugin context if its `proxy_on_done` returned false. A stream context is not waited for.
pub fn done<H: Host>(call: &mut Call<'_, H>) -> Outcome {
    let state = call.state_mut();
    let plugin = state.contexts.plugin_id_of(state.effective);
    // However often the guest says so.
    if !state.done.contains(&plugin) {
        state.done.push(plugin);
    }
    Ok(())
}

/// Ends the pause of a request. Responses are not paused.
pub fn continue_stream<H: Host>(call: &mut Call<'_, H>, stream_type: u32) -> Outcome {
    if stream_type == REQUEST { continue_request(call) } else { Ok(()) }
}

/// As [`continue_stream`], in ABI 0.1.0.
pub fn continue_request<H: Host>(call: &mut Call<'_, H>) -> Outcome {
    if call.stream()?.is_none() {
        return Ok(());
    }
    let state = call.state_mut();
    if state.effective == state.current {
        state.continued = true;
        return Ok(());
    }
    if let Some(entry) = state.contexts.streams.get_mut(&state.effective)
        && entry.waiting != Waiting::No
    {
        entry.waiting = Waiting::No;
        state.wake_effective_stream();
    }
    Ok(())
}

/// As [`continue_stream`] for a response, in ABI 0.1.0.
pub fn continue_response<H: Host>(_: &mut Call<'_, H>) -> Outcome {
    Ok(())
}

/// Ends the stream without an answer when the callback has returned.
pub fn close_stream<H: Host>(call: &mut Call<'_, H>, _stream_type: u32) -> Outcome {
    if call.stream_to_change()?.is_none() {
        return Ok(());
    }
    let state = call.state_mut();
    if state.effective == state.current {
        state.close = true;
    } else if !state.end_effective_stream(vm::Outcome::Close) {
        call.log(
            LogLevel::Warn,
            format_args!("proxy_close_stream: the stream does not wait, it can't be closed from here"),
        );
    }
    Ok(())
}

/// The proxy has chosen where the request goes before any plugin runs: there is no choice to forget.
pub fn clear_route_cache<H: Host>(_: &mut Call<'_, H>) -> Outcome {
    Ok(())
}

/// In the callback of a callout its status: 11 for an HTTP call that failed, a gRPC status for the others. Elsewhere 0.
pub fn get_status<H: Host>(call: &mut Call<'_, H>, code_out: u32, pointer_out: u32, size_out: u32) -> Outcome {
    let (code, message) = call.state().answer.as_ref().map_or((0, ""), Answer::status);
    let message = message.to_owned();
    call.memory()?.0.write_u32(code_out, code)?;
    call.return_bytes(message.as_bytes(), pointer_out, size_out)
}
