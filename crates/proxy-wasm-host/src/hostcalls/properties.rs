//! `proxy_get_property`, `proxy_set_property`.

use crate::{
    abi::Status,
    host::{Host, Stream},
    hostcalls::{Call, Outcome},
};

pub fn get_property<H: Host>(
    call: &mut Call<'_, H>,
    path: u32,
    path_size: u32,
    pointer_out: u32,
    size_out: u32,
) -> Outcome {
    let stream = call.stream()?;
    let path = without_trailing_nul(call.bytes(path, path_size)?);
    if matches!(path, b"plugin_root_id" | b"plugin_name") {
        let name = call.state().options.name.clone();
        return call.return_bytes(name.as_bytes(), pointer_out, size_out);
    }
    let value = stream.as_ref().and_then(|stream| stream.property(path)).ok_or(Status::NotFound)?;
    call.return_bytes(&value, pointer_out, size_out)
}

pub fn set_property<H: Host>(
    call: &mut Call<'_, H>,
    path: u32,
    path_size: u32,
    value: u32,
    value_size: u32,
) -> Outcome {
    let stream = call.stream_to_change()?.ok_or(Status::NotFound)?;
    let (memory, _) = call.memory()?;
    let path = without_trailing_nul(memory.bytes(path, path_size)?);
    stream.set_property(path, memory.bytes(value, value_size)?)?;
    Ok(())
}

/// The C++ SDK ends a path with NUL.
fn without_trailing_nul(path: &[u8]) -> &[u8] {
    path.strip_suffix(&[0]).unwrap_or(path)
}
