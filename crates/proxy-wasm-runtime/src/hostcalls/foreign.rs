//! `proxy_call_foreign_function`.

use crate::{
    foreign,
    host::Host,
    hostcalls::{Call, Outcome},
};

/// What every proxy has goes first, then what this one has. A guest that has no use for the result gives null pointers for it.
pub fn call_foreign_function<H: Host>(
    call: &mut Call<'_, H>,
    name: u32,
    name_size: u32,
    arguments: u32,
    arguments_size: u32,
    pointer_out: u32,
    size_out: u32,
) -> Outcome {
    let stream = call.stream()?;
    let (memory, state) = call.memory()?;
    let name = memory.name(name, name_size)?;
    let arguments = memory.bytes(arguments, arguments_size)?;
    let result = match foreign::find(name) {
        Some(function) => function(arguments, &state.clock)?,
        None => state.host.call_foreign_function(stream.as_ref(), name, arguments)?,
    };
    if pointer_out == 0 || size_out == 0 {
        return Ok(());
    }
    call.return_bytes(&result, pointer_out, size_out)
}
