//! `proxy_get_property`, `proxy_set_property`.

use std::sync::Arc;

use crate::{
    abi::Status,
    context::Options,
    host::{Host, HttpStream},
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
    let path = without_trailing_nul(call.name(path, path_size)?);
    if let Some(of_plugin) = property_of_plugin(path) {
        let value = of_plugin(&call.state().options).clone();
        return call.return_bytes(value.as_bytes(), pointer_out, size_out);
    }
    let value = stream.as_ref().and_then(|stream| stream.property(path)).ok_or(Status::NotFound)?;
    call.state().check_kept()?;
    let size = value.encoded_len().ok_or(Status::SerializationFailure)?;
    call.return_with(size, pointer_out, size_out, |out| value.encode(out))
}

/// A property that can't be set is logged by the proxy: the Rust SDK panics on every status but `OK`.
pub fn set_property<H: Host>(
    call: &mut Call<'_, H>,
    path: u32,
    path_size: u32,
    value: u32,
    value_size: u32,
) -> Outcome {
    let Some(stream) = call.stream_to_change()? else { return Ok(()) };
    let (memory, state) = call.memory()?;
    let path = without_trailing_nul(memory.name(path, path_size)?);
    let value = memory.bytes(value, value_size)?;
    state.count_set(1, path.len() + value.len())?;
    stream.set_property(path, value);
    Ok(())
}

/// What a plugin was loaded with, which it can read in any context.
fn property_of_plugin(path: &[u8]) -> Option<fn(&Options) -> &Arc<str>> {
    match path {
        b"plugin_name" | b"plugin_root_id" => Some(|options| &options.name),
        b"plugin_vm_id" => Some(|options| &options.vm_id),
        _ => None,
    }
}

/// The C++ SDK ends a path with NUL.
fn without_trailing_nul(path: &[u8]) -> &[u8] {
    path.strip_suffix(&[0]).unwrap_or(path)
}
