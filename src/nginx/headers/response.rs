use std::{borrow::Cow, ffi::c_int, ptr::null};

use proxy_wasm_runtime::{
    HeaderChange,
    abi::{LogLevel, pairs::Pair},
};
use smallvec::{SmallVec, smallvec};

use super::framing;
use crate::{
    body::Length,
    nginx::{
        header_lists::{self, Header},
        log,
        request::{Phase, Request},
        symbols::{FfiStr, NGX_DECLINED, NGX_OK, Symbols},
        variables::{self, error_text, slice},
    },
    worker,
};

/// The headers in their order, then what nginx keeps apart: `content-type`, `content-length`, `last-modified`, `connection`,
/// `transfer-encoding` and `:status`.
pub fn all(request: &Request) -> Vec<Pair<'_>> {
    let length = worker::length_of(*request);
    let is_seen = |header: &Header<'_>| length == Length::Told || !has_name(b"content-length")(*header);
    let mut pairs: Vec<Pair<'_>> =
        list(*request).filter(is_seen).map(|header| (lowercase(header.name), Cow::from(header.value))).collect();
    pairs.extend(kept_apart(request, length).map(|(name, value)| (Cow::from(name), value)));
    if let Some(status) = status(*request) {
        pairs.push((Cow::from(&b":status"[..]), Cow::from(status)));
    }
    pairs
}

/// How many headers [`all`] gives. A file's `last-modified` is not counted in `header_filter_by_lua*`: nginx would have to
/// write it out to tell that there is one.
pub fn count(request: Request) -> u32 {
    if request.phase() != Some(Phase::HEADER_FILTER) || worker::length_of(request) != Length::Told {
        return all(&request).len() as u32;
    }
    // As above without variables, which cost more than all the rest. There is a connection header and not yet a
    // transfer-encoding.
    let is_apart =
        |name: &[u8]| find(request, name).is_ok_and(|value| value.is_some()) && !list(request).any(has_name(name));
    let apart = 1 + u32::from(is_apart(b"content-type")) + u32::from(is_apart(b"content-length"));
    list(request).count() as u32 + apart + u32::from(status_code(request).is_some())
}

/// Headers that are not in nginx's list. Some may be in both.
fn kept_apart(request: &Request, length: Length) -> impl Iterator<Item = (&'static [u8], Cow<'_, [u8]>)> {
    const HEADERS: &[(&[u8], &[u8])] = &[
        (b"content-type", b"sent_http_content_type"),
        (b"content-length", b"sent_http_content_length"),
        (b"last-modified", b"sent_http_last_modified"),
        (b"connection", b"sent_http_connection"),
        (b"transfer-encoding", b"sent_http_transfer_encoding"),
    ];
    // nginx keeps the value of a variable that the configuration uses, and these two it is still to find out.
    let are_known = request.phase().is_none_or(Phase::has_response_headers);
    HEADERS.iter().filter_map(move |(name, variable)| {
        let value = match (*name, length) {
            (b"content-length", Length::Declared { length, .. }) => Cow::from(length.to_string().into_bytes()),
            (b"content-length", Length::Removed) => return None,
            (b"transfer-encoding", _) if !are_known => return None,
            (b"connection", _) if request.is_unanswered() => return None,
            (b"connection" | b"transfer-encoding", _) => Cow::from(variables::read(request, variable)?),
            // At the request's end, and after ngx.exec, ngx_lua has no context for it.
            (name, _) => Cow::from(find(*request, name).unwrap_or_else(|_| variables::read(request, variable))?),
        };
        let is_edited = framing::is_length_of_response(name) && length != Length::Told;
        let is_listed = !is_edited && list(*request).any(has_name(name));
        (!value.is_empty() && !is_listed).then_some((*name, value))
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
        return status(*request).map(Cow::from);
    }
    if framing::is_length_of_response(name) {
        match worker::length_of(*request) {
            Length::Told => {}
            Length::Removed => return None,
            Length::Declared { length, .. } => return Some(Cow::from(length.to_string().into_bytes())),
        }
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

/// Changes a header. `:status` can be replaced; errors are those of wasm-nginx-module. What frames the response is nginx's:
/// a change of `content-length` is remembered for when the callback has returned, others do nothing.
pub fn change(request: Request, name: &[u8], change: HeaderChange<'_>) {
    let is_status = name.eq_ignore_ascii_case(b":status");
    let result = match change {
        _ if framing::is_length_of_response(name) => change_length(request, change),
        _ if framing::frames_response(name) => return log_framing(request, name),
        HeaderChange::Remove if name.starts_with(b":") => Err("can't remove pseudo header".to_owned()),
        HeaderChange::Add(value) | HeaderChange::Replace(value) if is_status => set_status(request, value),
        _ if name.starts_with(b":") => Err("there is no such pseudo header".to_owned()),
        HeaderChange::Add(b"") => Ok(()),
        HeaderChange::Remove | HeaderChange::Replace(b"") => set(request, name, None, true),
        HeaderChange::Add(value) => set_checked(request, name, value, false),
        HeaderChange::Replace(value) => set_checked(request, name, value, true),
    };
    if let Err(reason) = result {
        let name = name.escape_ascii();
        log::error(request, format_args!("failed to set response header {name}: {reason}"));
    }
}

/// Says once for a request that a plugin can't change how its response is framed.
fn log_framing(request: Request, name: &[u8]) {
    if worker::is_first_framing_change(request) {
        let message = format!("response header {} stays as it is: nginx frames the response", name.escape_ascii());
        log::write(Some(&request), LogLevel::Info, message.as_bytes());
    }
}

fn change_length(request: Request, change: HeaderChange<'_>) -> Result<(), String> {
    if request.phase() != Some(Phase::HEADER_FILTER) {
        log_framing(request, b"content-length");
        return Ok(());
    }
    let length = match change {
        HeaderChange::Add(b"") => return Ok(()),
        HeaderChange::Remove | HeaderChange::Replace(b"") => None,
        HeaderChange::Add(value) | HeaderChange::Replace(value) => Some(parse_length(value).ok_or("invalid value")?),
    };
    worker::set_length_of(request, length);
    Ok(())
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

/// The length that the client is told of the body, or will be.
pub fn told_length(request: Request) -> Option<u64> {
    parse_length(find(request, b"content-length").ok()??)
}

/// Has the client told another length, or with `None` none: then the response is chunked, or ends with the connection.
pub fn tell_length(request: Request, length: Option<u64>) {
    let value = length.map(|length| length.to_string());
    // Where there is no memory, nginx can't send a response.
    let _ = set(request, b"content-length", value.as_deref().map(str::as_bytes), true);
}

/// Removes all headers, also those that nginx keeps apart, and of those that frame a response what the upstream has sent.
pub fn clear(request: Request) {
    let listed = list(request).map(|header| header.name.to_vec());
    let kept_apart = [&b"content-type"[..], b"content-length", b"last-modified"].map(<[u8]>::to_vec);
    for name in listed.chain(kept_apart).collect::<Vec<_>>() {
        let _ = set(request, &name, None, true);
    }
}

/// Takes away what the headers say of a body that will be another one.
pub fn remove_headers_of_body(request: Request) {
    tell_length(request, None);
    for name in [&b"accept-ranges"[..], b"etag"] {
        let _ = set(request, name, None, true);
    }
}

fn set_checked(request: Request, name: &[u8], value: &[u8], replace: bool) -> Result<(), String> {
    framing::check(name, value)?;
    // HTTP/2 has no blanks around a value, which HTTP/1.1 leaves out (RFC 9113 §8.2.1).
    set(request, name, Some(value.trim_ascii()), replace)
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
    // ngx_lua says 9 of HTTP/0.9.
    (status >= 100 && !request.is_unanswered()).then_some(status)
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
    let has_no_body = matches!(status, 204 | 304);
    // ngx_lua has such a body ready, and sends it behind whatever head.
    if has_no_body && request.is_http_1_0() && status_code(request) != Some(status) {
        return Err(format!("the body of a response to HTTP/1.0 can't be taken away, as a {status} would need"));
    }
    // SAFETY: the request lives. ngx_lua logs what it refuses.
    unsafe { (Symbols::get().ngx_http_lua_ffi_set_resp_status)(request.as_ptr(), status) };
    if has_no_body && request.phase() == Some(Phase::HEADER_FILTER) {
        tell_length(request, None);
    }
    Ok(())
}
