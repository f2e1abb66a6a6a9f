//! `proxy_set_effective_context`, `proxy_done` and what tells the proxy to go on.

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
    state.done.push(state.contexts.plugin_id_of(state.effective));
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
