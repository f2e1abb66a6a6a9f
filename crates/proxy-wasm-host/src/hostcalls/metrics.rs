//! `proxy_define_metric`, `proxy_increment_metric`, `proxy_record_metric`, `proxy_get_metric`.

use crate::{
    abi::{LogLevel, MetricType, Status},
    host::Host,
    hostcalls::{Call, Outcome},
    store::MetricError,
};

/// A metric that can't be defined has the id 0.
pub fn define_metric<H: Host>(
    call: &mut Call<'_, H>,
    metric_type: u32,
    name: u32,
    name_size: u32,
    metric_out: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (mut memory, state) = call.memory()?;
    let kind = MetricType::try_from(metric_type).map_err(|()| Status::BadArgument)?;
    let defined = state.metrics.define(state.host.dict(), kind, memory.name(name, name_size)?);
    memory.write_u32(metric_out, *defined.as_ref().unwrap_or(&0))?;
    answer(call, defined.map(drop))
}

pub fn increment_metric<H: Host>(call: &mut Call<'_, H>, metric: u32, offset: u64) -> Outcome {
    call.check_unrestricted()?;
    let state = call.state_mut();
    let result = state.metrics.increment(state.host.dict(), metric, offset.cast_signed());
    answer(call, result)
}

pub fn record_metric<H: Host>(call: &mut Call<'_, H>, metric: u32, value: u64) -> Outcome {
    call.check_unrestricted()?;
    let state = call.state_mut();
    let result = state.metrics.record(state.host.dict(), metric, value);
    answer(call, result)
}

pub fn get_metric<H: Host>(call: &mut Call<'_, H>, metric: u32, value_out: u32) -> Outcome {
    call.check_unrestricted()?;
    let (mut memory, state) = call.memory()?;
    match state.metrics.get(state.host.dict(), metric) {
        Ok(value) => Ok(memory.write_u64(value_out, value)?),
        Err(error) => answer(call, Err(error)),
    }
}

/// What plugins know no status for is logged.
fn answer<H: Host>(call: &Call<'_, H>, result: Result<(), MetricError>) -> Outcome {
    match result {
        Err(MetricError::Status(status)) => return Err(status.into()),
        Err(MetricError::Dict(error)) => call.log(LogLevel::Error, format_args!("{}: {error}", call.name)),
        Err(MetricError::TooMany(most)) => {
            call.log(LogLevel::Error, format_args!("{}: the plugin has {most} metrics, and no more", call.name));
        }
        Ok(()) => {}
    }
    Ok(())
}
