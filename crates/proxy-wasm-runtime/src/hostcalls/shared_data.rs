//! `proxy_get_shared_data`, `proxy_set_shared_data`.

use crate::{
    abi::{LogLevel, Status},
    host::Host,
    hostcalls::{Call, Outcome},
    store::SetError,
    vm::State,
};

/// A null pointer for the value asks whether there is one.
pub fn get_shared_data<H: Host>(
    call: &mut Call<'_, H>,
    key: u32,
    key_size: u32,
    pointer_out: u32,
    size_out: u32,
    cas_out: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (mut memory, state) = call.memory()?;
    let found = state.shared_data.get(state.host.dict(), memory.name(key, key_size)?);
    let (value, cas) = found.ok_or(Status::NotFound)?;
    if cas_out != 0 {
        memory.write_u32(cas_out, cas)?;
    }
    if pointer_out != 0 {
        call.return_bytes(&value, pointer_out, size_out)?;
    }
    call.state_mut().shared_data.recycle(value);
    Ok(())
}

/// A null pointer for the value deletes the key. A value that does not fit is logged: plugins know no status for it.
pub fn set_shared_data<H: Host>(
    call: &mut Call<'_, H>,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Outcome {
    call.check_unrestricted()?;
    let (memory, state) = call.memory()?;
    let key = memory.name(key, key_size)?;
    let value = if value == 0 && value_size == 0 { None } else { Some(memory.bytes(value, value_size)?) };
    match state.shared_data.set(state.host.dict(), key, value, cas) {
        Ok(()) => Ok(()),
        Err(SetError::CasMismatch) => Err(Status::CasMismatch.into()),
        Err(error) => {
            let key = key[..key.len().min(64)].escape_ascii().to_string();
            let State { options, callback, .. } = call.state();
            let message = format!(
                "plugin {:?}: {callback}: proxy_set_shared_data: \"{key}\" is not set to a value of {value_size} bytes: {error}",
                options.name
            );
            call.log(LogLevel::Error, format_args!("{message}"));
            Ok(())
        }
    }
}
