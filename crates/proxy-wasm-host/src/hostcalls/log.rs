//! `proxy_log`, `proxy_get_log_level`.

use crate::{
    abi::{LogLevel, Status},
    host::Host,
    hostcalls::{Call, Outcome},
};

pub fn log<H: Host>(call: &mut Call<'_, H>, level: u32, message: u32, message_size: u32) -> Outcome {
    let (memory, state) = call.memory()?;
    let message = memory.bytes(message, message_size)?;
    let level = LogLevel::try_from(level).map_err(|()| Status::BadArgument)?;
    state.log(level, message);
    Ok(())
}

pub fn get_log_level<H: Host>(call: &mut Call<'_, H>, level_out: u32) -> Outcome {
    let state = call.state();
    let level = state.host.log_level(state.effective_stream().as_ref()).unwrap_or(LogLevel::Critical);
    call.memory()?.0.write_u32(level_out, level as u32)?;
    Ok(())
}
