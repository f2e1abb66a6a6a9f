//! `proxy_define_metric`, `proxy_increment_metric`, `proxy_record_metric`, `proxy_get_metric`.

use crate::{
    abi::{LogLevel, MetricType, Status},
    host::Host,
    hostcalls::{Call, Outcome},
    store::MetricError,
};

/// A metric that can't be defined has the id 0, which counts nothing from then on.
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
    let name = memory.name(name, name_size)?;
    let defined = state.metrics.define(state.host.dict(), kind, name);
    let refused = defined.err().filter(MetricError::is_refusal).map(|error| {
        let (plugin, callback) = (&state.options.name, state.callback);
        let name = name[..name.len().min(64)].escape_ascii();
        format!("plugin {plugin:?}: {callback}: proxy_define_metric: \"{name}\" is not defined: {error}")
    });
    memory.write_u32(metric_out, defined.unwrap_or(0))?;
    match refused {
        Some(message) => call.log(LogLevel::Error, format_args!("{message}")),
        None => answer(call, defined.map(drop))?,
    }
    Ok(())
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
        Err(MetricError::Refused) => Ok(memory.write_u64(value_out, 0)?),
        Err(error) => answer(call, Err(error)),
    }
}

/// What plugins know no status for is logged.
fn answer<H: Host>(call: &Call<'_, H>, result: Result<(), MetricError>) -> Outcome {
    match result {
        Ok(()) | Err(MetricError::Refused) => {}
        Err(MetricError::Status(status)) => return Err(status.into()),
        Err(error) => call.log(LogLevel::Error, format_args!("{}: {error}", call.name)),
    }
    Ok(())
}
