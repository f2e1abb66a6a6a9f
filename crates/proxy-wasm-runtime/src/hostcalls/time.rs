//! `proxy_get_current_time_nanoseconds`, `proxy_set_tick_period_milliseconds`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    abi::LogLevel,
    host::Host,
    hostcalls::{Call, Outcome},
};

/// Nanoseconds since 1970-01-01, UTC.
pub fn get_current_time_nanoseconds<H: Host>(call: &mut Call<'_, H>, time_out: u32) -> Outcome {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.memory()?.0.write_u64(time_out, since_epoch.as_nanos() as u64)?;
    Ok(())
}

/// Sets the period of the plugin context's `proxy_on_tick`; 0 stops it.
pub fn set_tick_period_milliseconds<H: Host>(call: &mut Call<'_, H>, period: u32) -> Outcome {
    let state = call.state();
    match state.contexts.plugin_of(state.effective) {
        Some(plugin) => state.host.set_tick_period(plugin.key, period),
        None => call.log(LogLevel::Error, format_args!("{}: there is no plugin context yet", call.name)),
    }
    Ok(())
}
