//! `proxy_get_header_map_*`, `proxy_set_header_map_pairs` and the changes of one header.

use std::borrow::Cow;

use crate::{
    abi::{
        AbiVersion, HeaderMap, LogLevel, Status, escape_invalid,
        pairs::{self, Pair},
    },
    error::{Failure, Trap},
    host::{HeaderChange, Host, HttpStream},
    hostcalls::{Call, Outcome},
    vm,
};

/// The size of the map in bytes, as [`get_header_map_pairs`] would return it.
pub fn get_header_map_size<H: Host>(call: &mut Call<'_, H>, map: u32, size_out: u32) -> Outcome {
    let map = header_map(map)?;
    let stream = call.stream()?;
    let size = if map.is_of_callout() {
        let headers = call.state().answer.as_ref().and_then(|answer| answer.headers(map));
        let headers = headers.into_iter().flatten().map(|(name, value)| (name.into(), value.into())).collect();
        pairs::encoded_len(&presented(call, headers))
    } else {
        pairs::encoded_len(&all_headers(call, stream.as_ref(), map)?)
    };
    call.memory()?.0.write_u32(size_out, size.ok_or(Status::InternalFailure)?)?;
    Ok(())
}

/// A map that the stream does not have is empty.
pub fn get_header_map_pairs<H: Host>(call: &mut Call<'_, H>, map: u32, pointer_out: u32, size_out: u32) -> Outcome {
    let map = header_map(map)?;
    if map.is_of_callout() {
        return answer_headers(call, map, pointer_out, size_out);
    }
    let stream = call.stream()?;
    let headers = all_headers(call, stream.as_ref(), map)?;
    let size = pairs::encoded_len(&headers).ok_or(Status::InternalFailure)?;
    call.return_with(size, pointer_out, size_out, |out| pairs::encode(&headers, out))
}

/// A map of a callout's answer. No bytes at all when there is no answer, which the Go SDK takes for `NOT_FOUND` and others for an
/// empty map.
fn answer_headers<H: Host>(call: &mut Call<'_, H>, map: HeaderMap, pointer_out: u32, size_out: u32) -> Outcome {
    call.check_unrestricted()?;
    // Taken out for the call: the guest's allocator runs meanwhile.
    let Some(answer) = call.state_mut().answer.take() else { return call.return_bytes(&[], pointer_out, size_out) };
    let outcome = match answer.headers(map) {
        Some(headers) => {
            let headers = presented(call, headers.iter().map(|(name, value)| (name.into(), value.into())).collect());
            match pairs::encoded_len(&headers) {
                Some(size) => call.return_with(size, pointer_out, size_out, |out| pairs::encode(&headers, out)),
                None => Err(Status::InternalFailure.into()),
            }
        }
        None => call.return_bytes(&[], pointer_out, size_out),
    };
    call.state_mut().answer = Some(answer);
    outcome
}

/// The headers as the guest is to see them; none when there is no stream.
fn all_headers<'a, H: Host>(
    call: &Call<'_, H>,
    stream: Option<&'a H::HttpStream>,
    map: HeaderMap,
) -> Result<Vec<Pair<'a>>, Trap> {
    let headers = stream.map(|stream| stream.headers(map)).unwrap_or_default();
    call.state().check_kept()?;
    Ok(presented(call, headers))
}

/// Headers as the guest is to see them.
fn presented<'a, H: Host>(call: &Call<'_, H>, mut headers: Vec<Pair<'a>>) -> Vec<Pair<'a>> {
    if call.state().options.escape_invalid_utf8 {
        for text in headers.iter_mut().flat_map(|(name, value)| [name, value]) {
            *text = escape_invalid(std::mem::take(text));
        }
    }
    headers
}

/// Removes every header of the map and adds those given, in their order. Where some would stay because nobody knows them, the
/// stream is closed.
pub fn set_header_map_pairs<H: Host>(call: &mut Call<'_, H>, map: u32, blob: u32, blob_size: u32) -> Outcome {
    let map = header_map(map)?;
    let Some(stream) = call.stream_to_change()? else { return Ok(()) };
    let (memory, state) = call.memory()?;
    let headers = pairs::decode(memory.bytes(blob, blob_size)?)?;
    state.count_set(headers.len(), headers.iter().map(|(name, value)| name.len() + value.len()).sum())?;
    if !stream.knows_all_headers(map) {
        return close_instead(call, map);
    }

    let is_pseudo = |name: &[u8]| name.starts_with(b":");
    let old = stream.headers(map);
    for (name, _) in old.iter().filter(|(name, _)| !is_pseudo(name)) {
        stream.change_header(map, name, HeaderChange::Remove);
    }
    for (name, value) in headers {
        let change = if is_pseudo(name) { HeaderChange::Replace(value) } else { HeaderChange::Add(value) };
        stream.change_header(map, name, change);
    }
    Ok(())
}

#[cold]
fn close_instead<H: Host>(call: &mut Call<'_, H>, map: HeaderMap) -> Outcome {
    call.log(
        LogLevel::Error,
        format_args!(
            "proxy_set_header_map_pairs: not all of {map:?} are known that would have to go: the stream is closed"
        ),
    );
    let state = call.state_mut();
    if state.effective == state.current {
        state.close = true;
    } else {
        state.end_effective_stream(vm::Outcome::Close);
    }
    Ok(())
}

/// The first header of the name. A missing one is `NOT_FOUND`, or in ABI 0.1.0 an empty value.
pub fn get_header_map_value<H: Host>(
    call: &mut Call<'_, H>,
    map: u32,
    name: u32,
    name_size: u32,
    pointer_out: u32,
    size_out: u32,
) -> Outcome {
    let map = header_map(map)?;
    let stream = call.stream()?;
    let name = call.name(name, name_size)?;
    if map.is_of_callout() {
        let name = name.to_ascii_lowercase();
        let value = call.state().answer.as_ref().and_then(|answer| answer.header(map, &name)).map(<[u8]>::to_vec);
        return return_value(call, value.map(Cow::from), pointer_out, size_out);
    }
    let value = stream.as_ref().and_then(|stream| stream.header(map, name));
    call.state().check_kept()?;
    return_value(call, value, pointer_out, size_out)
}

fn return_value<H: Host>(
    call: &mut Call<'_, H>,
    value: Option<Cow<'_, [u8]>>,
    pointer_out: u32,
    size_out: u32,
) -> Outcome {
    match value {
        Some(value) if call.state().options.escape_invalid_utf8 => {
            call.return_bytes(&escape_invalid(value), pointer_out, size_out)
        }
        Some(value) => call.return_bytes(&value, pointer_out, size_out),
        None if call.state().abi == AbiVersion::V0_1_0 => call.return_bytes(&[], pointer_out, size_out),
        None => Err(Status::NotFound.into()),
    }
}

pub fn add_header_map_value<H: Host>(
    call: &mut Call<'_, H>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Outcome {
    set_header(call, map, (name, name_size), (value, value_size), |value| HeaderChange::Add(value))
}

pub fn replace_header_map_value<H: Host>(
    call: &mut Call<'_, H>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Outcome {
    set_header(call, map, (name, name_size), (value, value_size), |value| HeaderChange::Replace(value))
}

/// Adds or replaces a header; name and value are pointer and size.
fn set_header<H: Host>(
    call: &mut Call<'_, H>,
    map: u32,
    name: (u32, u32),
    value: (u32, u32),
    change: impl FnOnce(&[u8]) -> HeaderChange<'_>,
) -> Outcome {
    let map = header_map(map)?;
    let Some(stream) = call.stream_to_change()? else { return Ok(()) };
    let (memory, state) = call.memory()?;
    let (name, value) = (memory.name(name.0, name.1)?, memory.bytes(value.0, value.1)?);
    state.count_set(1, name.len() + value.len())?;
    stream.change_header(map, name, change(value));
    Ok(())
}

pub fn remove_header_map_value<H: Host>(call: &mut Call<'_, H>, map: u32, name: u32, name_size: u32) -> Outcome {
    let map = header_map(map)?;
    let Some(stream) = call.stream_to_change()? else { return Ok(()) };
    let (memory, state) = call.memory()?;
    let name = memory.name(name, name_size)?;
    // The proxy may keep the name.
    state.count_set(1, name.len())?;
    stream.change_header(map, name, HeaderChange::Remove);
    Ok(())
}

fn header_map(map: u32) -> Result<HeaderMap, Failure> {
    HeaderMap::try_from(map).map_err(|()| Status::BadArgument.into())
}
