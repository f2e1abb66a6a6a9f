use std::{borrow::Cow, ffi::c_int, ptr::null};

use proxy_wasm_host::{HeaderChange, abi::pairs::Pair};
use smallvec::{SmallVec, smallvec};

use crate::nginx::{
    header_lists::{self, Header},
    log,
    request::{Phase, Request},
    symbols::{FfiStr, NGX_DECLINED, NGX_OK, Symbols},
    variables::{self, error_text, slice},
};

/// The headers in their order, then what nginx keeps apart: `content-type`, `content-length`, `last-modified`, `connection`,
/// `transfer-encoding` and `:status`.
pub fn all(request: &Request) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> =
        list(*request).map(|header| (lowercase(header.name), Cow::from(header.value))).collect();
    pairs.extend(kept_apart(request).map(|(name, value)| (Cow::from(name), Cow::from(value))));
    if let Some(status) = status(*request) {
        pairs.push((Cow::from(&b":status"[..]), Cow::from(status)));
    }
    pairs
}

/// How many headers [`all`] gives. A file's `last-modified` is not counted in `header_filter_by_lua*`: nginx would have to
/// write it out to tell that there is one.
pub fn count(request: Request) -> u32 {
    if request.phase() != Some(Phase::HEADER_FILTER) {
        return all(&request).len() as u32;
    }
    // As above without variables, which cost more than all the rest. There is a connection header and not yet a
    // transfer-encoding.
    let is_apart =
        |name: &[u8]| find(request, name).is_ok_and(|value| value.is_some()) && !list(request).any(has_name(name));
    let apart = 1 + u32::from(is_apart(b"content-type")) + u32::from(is_apart(b"content-length"));
    list(request).count() as u32 + apart + u32::from(status(request).is_some())
}

/// Headers that are not in nginx's list. Some may be in both.
fn kept_apart(request: &Request) -> impl Iterator<Item = (&'static [u8], &[u8])> {
    const VARIABLES: &[(&[u8], &[u8])] = &[
        (b"content-type", b"sent_http_content_type"),
        (b"content-length", b"sent_http_content_length"),
        (b"last-modified", b"sent_http_last_modified"),
        (b"connection", b"sent_http_connection"),
        (b"transfer-encoding", b"sent_http_transfer_encoding"),
    ];
    VARIABLES.iter().filter_map(move |(name, variable)| {
        let value = variables::get(request, variable).filter(|value| !value.is_empty())?;
        (!list(*request).any(has_name(name))).then_some((*name, value))
    })
}

#[inline]
fn list<'a>(request: Request) -> impl Iterator<Item = Header<'a>> {
    header_lists::response_headers(request).into_iter().flatten()
}

fn has_name(name: &[u8]) -> impl Fn(Header<'_>) -> bool {
    move |header| header.name.eq_ignore_ascii_case(name)
}

fn lowercase(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().any(u8::is_ascii_uppercase) { Cow::from(name.to_ascii_lowercase()) } else { Cow::from(name) }
}

/// The first header of the name.
pub fn get<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    if name.eq_ignore_ascii_case(b":status") {
        return Some(Cow::from(status(*request).unwrap_or_else(|| b"0".to_vec())));
    }
    match find(*request, name) {
        Ok(value) => value.map(Cow::from),
        // At the request's end, and after ngx.exec, ngx_lua has no context for it.
        Err(_) => all(request).into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value),
    }
}

/// As ngx_lua finds a header; its number of the error when it can't tell.
fn find<'a>(request: Request, name: &[u8]) -> Result<Option<&'a [u8]>, c_int> {
    let mut dashes: SmallVec<[u8; 64]> = smallvec![0; name.len().max(1)];
    let mut value = FfiStr { len: 0, data: null() };
    let mut error = null();
    // SAFETY: the buffers have the lengths given. The value lives in the request's pool.
    unsafe {
        let found = (Symbols::get().ngx_http_lua_ffi_get_resp_header)(
            request.as_ptr(),
            name.as_ptr(),
            name.len(),
            dashes.as_mut_ptr(),
            &mut value,
            1,
            &mut error,
        );
        match found {
            0 => Ok(None),
            1.. => Ok(Some(slice(value.data, usize::try_from(value.len).unwrap_or_default()))),
            error => Err(error),
        }
    }
}

/// Changes a header. `:status` can be replaced; errors are those of wasm-nginx-module.
pub fn change(request: Request, name: &[u8], change: HeaderChange<'_>) {
    let is_status = name.eq_ignore_ascii_case(b":status");
    let result = match change {
        HeaderChange::Remove if name.starts_with(b":") => Err("can't remove pseudo header".to_owned()),
        HeaderChange::Remove => set(request, name, None, true),
        HeaderChange::Add(value) | HeaderChange::Replace(value) if is_status => set_status(request, value),
        _ if name.starts_with(b":") => Err("there is no such pseudo header".to_owned()),
        HeaderChange::Add(value) => set(request, name, Some(value), false),
        HeaderChange::Replace(value) => set(request, name, Some(value), true),
    };
    if let Err(reason) = result {
        let name = String::from_utf8_lossy(name);
        log::error(request, format_args!("failed to set response header {name}: {reason}"));
    }
}

fn set(request: Request, name: &[u8], value: Option<&[u8]>, replace: bool) -> Result<(), String> {
    let mut error = null();
    let (data, size) = value.map_or((null(), 0), |value| (value.as_ptr(), value.len()));
    // SAFETY: ngx_lua copies name and value.
    unsafe {
        let result = (Symbols::get().ngx_http_lua_ffi_set_resp_header)(
            request.as_ptr(),
            name.as_ptr(),
            name.len(),
            value.is_none().into(),
            data,
            size,
            null(),
            0,
            replace.into(),
            &mut error,
        );
        match result {
            // Declined: the headers have been sent, which ngx_lua has logged.
            NGX_OK | NGX_DECLINED => Ok(()),
            code => Err(error_text(code, error)),
        }
    }
}

/// The status that is to be sent; `None` as long as there is none.
pub fn status_code(request: Request) -> Option<c_int> {
    // SAFETY: the request lives.
    let status = unsafe { (Symbols::get().ngx_http_lua_ffi_get_resp_status)(request.as_ptr()) };
    (status > 0).then_some(status)
}

fn status(request: Request) -> Option<Vec<u8>> {
    status_code(request).map(|status| status.to_string().into_bytes())
}

fn set_status(request: Request, status: &[u8]) -> Result<(), String> {
    let status = std::str::from_utf8(status).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let status: c_int = status.and_then(|text| text.parse().ok()).ok_or("invalid value")?;
    if !(200..=999).contains(&status) {
        return Err(format!("invalid value {status}, it must be in 200..=999"));
    }
    // SAFETY: the request lives. ngx_lua logs what it refuses.
    unsafe { (Symbols::get().ngx_http_lua_ffi_set_resp_status)(request.as_ptr(), status) };
    Ok(())
}
