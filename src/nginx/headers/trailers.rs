use std::borrow::Cow;

use proxy_wasm_runtime::{HeaderChange, abi::pairs::Pair};

use super::framing;
use crate::nginx::{header_lists, log, request::Request};

/// The trailers in their order, names in lower case. nginx has those of its upstream once the response's body has ended.
pub fn all(request: &Request) -> Vec<Pair<'_>> {
    let trailers = header_lists::response_trailers(*request).into_iter().flatten();
    trailers.map(|trailer| (Cow::from(trailer.name.to_ascii_lowercase()), Cow::from(trailer.value))).collect()
}

/// How many trailers [`all`] gives.
pub fn count(request: Request) -> u32 {
    header_lists::response_trailers(request).map_or(0, |trailers| trailers.count() as u32)
}

/// The first trailer of the name.
pub fn get<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    header_lists::response_trailers(*request)?.value_of(name).map(Cow::from)
}

/// Changes a trailer. nginx sends them where the response is chunked, or goes by HTTP/2 or HTTP/3. What frames a message is no
/// trailer (RFC 9110 §6.5.1).
pub fn change(request: Request, name: &[u8], change: HeaderChange<'_>) {
    if !matches!(change, HeaderChange::Add(_)) {
        header_lists::remove_response_trailers(request, name);
    }
    let (HeaderChange::Add(value) | HeaderChange::Replace(value)) = change else { return };
    if let Err(reason) = add(request, name, value) {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        log::error(request, format_args!("failed to set response trailer {name:?} to {value:?}: {reason}"));
    }
}

fn add(request: Request, name: &[u8], value: &[u8]) -> Result<(), String> {
    framing::check(name, value)?;
    if framing::frames_response(name) {
        return Err("nginx frames the response".to_owned());
    }
    if !header_lists::add_response_trailer(request, name, value.trim_ascii()) {
        return Err("nginx has no list of trailers, or no memory".to_owned());
    }
    Ok(())
}

/// Removes all trailers.
pub fn clear(request: Request) {
    header_lists::clear_response_trailers(request);
}
