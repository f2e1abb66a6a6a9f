//! `proxy_log`, `proxy_get_log_level`.

use crate::{
    abi::LogLevel,
    host::Host,
    hostcalls::{Call, Outcome},
};

/// A level that the ABI does not know is an error's.
pub fn log<H: Host>(call: &mut Call<'_, H>, level: u32, message: u32, message_size: u32) -> Outcome {
    let (memory, state) = call.memory()?;
    let message = memory.bytes(message, message_size)?;
    state.log(LogLevel::try_from(level).unwrap_or(LogLevel::Error), message);
    Ok(())
}

pub fn get_log_level<H: Host>(call: &mut Call<'_, H>, level_out: u32) -> Outcome {
    let state = call.state();
    let level = state.host.log_level(state.effective_stream().as_ref()).unwrap_or(LogLevel::Critical);
    call.memory()?.0.write_u32(level_out, level as u32)?;
    Ok(())
}
