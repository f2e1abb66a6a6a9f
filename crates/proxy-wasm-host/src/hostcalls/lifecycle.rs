//! `proxy_set_effective_context`, `proxy_done`, `proxy_get_status` and what tells the proxy to go on, or not to.

use crate::{
    abi::Status,
    host::Host,
    hostcalls::{Call, Outcome},
};

/// The choice ends with the callback that made it.
pub fn set_effective_context<H: Host>(call: &mut Call<'_, H>, context: u32) -> Outcome {
    let state = call.state_mut();
    if !state.contexts.contains(context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
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

/// Nothing waits for it: a request goes on when the callback has returned.
pub fn continue_stream<H: Host>(_: &mut Call<'_, H>, _stream_type: u32) -> Outcome {
    Ok(())
}

/// As [`continue_stream`], in ABI 0.1.0.
pub fn continue_request_or_response<H: Host>(_: &mut Call<'_, H>) -> Outcome {
    Ok(())
}

/// Ends the stream without an answer when the callback has returned.
pub fn close_stream<H: Host>(call: &mut Call<'_, H>, _stream_type: u32) -> Outcome {
    if call.stream_to_change()?.is_some() {
        call.state_mut().close = true;
    }
    Ok(())
}

/// The proxy has chosen where the request goes before any plugin runs: there is no choice to forget.
pub fn clear_route_cache<H: Host>(_: &mut Call<'_, H>) -> Outcome {
    Ok(())
}

/// The status of the last callout: 0 and no message as long as there was none.
pub fn get_status<H: Host>(call: &mut Call<'_, H>, code_out: u32, pointer_out: u32, size_out: u32) -> Outcome {
    call.memory()?.0.write_u32(code_out, 0)?;
    call.return_bytes(&[], pointer_out, size_out)
}
