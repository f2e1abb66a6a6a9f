//! `proxy_get_current_time_nanoseconds`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    host::Host,
    hostcalls::{Call, Outcome},
};

pub fn get_current_time_nanoseconds<H: Host>(call: &mut Call<'_, H>, time_out: u32) -> Outcome {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.memory()?.0.write_u64(time_out, since_epoch.as_nanos() as u64)?;
    Ok(())
}
