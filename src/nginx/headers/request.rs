use std::{borrow::Cow, ffi::c_int, ptr::null};

use proxy_wasm_host::{HeaderChange, abi::pairs::Pair};

use crate::{
    nginx::{
        header_lists::{self, Headers},
        log, lua_api,
        request::Request,
        symbols::{FfiStr, FfiTableElement, NGX_DECLINED, NGX_OK, NgxStr, Symbols},
        variables::{self, error_text, slice},
    },
    worker,
};

/// The headers in their order of arrival, then `:scheme`, `:path`, `:method` and, if the client sent one, `:authority`.
pub fn all(request: &Request) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = list(request).map(|(name, value)| (Cow::from(name), Cow::from(value))).collect();
    for name in [&b":scheme"[..], b":path", b":method", b":authority"] {
        if let Some(value) = pseudo(request, name) {
            pairs.push((Cow::from(name), value));
        }
    }
    pairs
}

/// How many headers [`all`] gives.
pub fn count(request: Request) -> u32 {
    let (count, has_host) = match header_lists::request_headers(request) {
        Some(headers) => headers.count_and_find(b"host"),
        None => list(&request).fold((0, false), |(count, found), (name, _)| (count + 1, found || name == b"host")),
    };
    count + 3 + u32::from(has_host)
}

/// The first header of the name.
pub fn get<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    if name.starts_with(b":") {
        return pseudo(request, &name.to_ascii_lowercase());
    }
    list(request).find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| Cow::from(value))
}

/// Changes a header. `:path`, `:method` and `:authority` can be replaced; errors are those of wasm-nginx-module.
pub fn change(request: Request, name: &[u8], change: HeaderChange<'_>) {
    let result = match (name.starts_with(b":"), change) {
        (false, HeaderChange::Add(value)) => set(request, name, Some(value), false),
        (false, HeaderChange::Replace(value)) => set(request, name, Some(value), true),
        (false, HeaderChange::Remove) => set(request, name, None, true),
        (true, HeaderChange::Remove | HeaderChange::Add(b"") | HeaderChange::Replace(b"")) => {
            Err("can't remove pseudo header".to_owned())
        }
        (true, HeaderChange::Add(value) | HeaderChange::Replace(value)) => set_pseudo(request, name, value),
    };
    if let Err(reason) = result {
        let name = String::from_utf8_lossy(name);
        log::error(request, format_args!("failed to set request header {name}: {reason}"));
    }
}

/// Names, in lower case, and values of the headers; pseudo-headers not among them.
enum List<'a> {
    Known(Headers<'a>),
    Described(std::vec::IntoIter<FfiTableElement>),
}

#[inline]
fn list(request: &Request) -> List<'_> {
    match header_lists::request_headers(*request) {
        Some(headers) => List::Known(headers),
        None => List::Described(describe(*request).into_iter()),
    }
}

impl<'a> Iterator for List<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Known(headers) => {
                headers.next().map(|header| (header.lowercase_name().unwrap_or(header.name), header.value))
            }
            Self::Described(elements) => elements.next().map(|element| (bytes(element.key), bytes(element.value))),
        }
    }
}

/// The headers as ngx_lua describes them.
fn describe(request: Request) -> Vec<FfiTableElement> {
    const UNLIMITED: c_int = 0;
    const LOWERCASE: c_int = 0;
    let symbols = Symbols::get();
    let mut elements = Vec::new();
    let mut truncated = 0;
    // SAFETY: the request lives; the elements have room for as many as ngx_lua counted, and are only taken over when it wrote
    // them.
    unsafe {
        let count = (symbols.ngx_http_lua_ffi_req_get_headers_count)(request.as_ptr(), UNLIMITED, &mut truncated);
        if count > 0 {
            elements.reserve(count as usize);
            let out = elements.as_mut_ptr();
            if (symbols.ngx_http_lua_ffi_req_get_headers)(request.as_ptr(), out, count, LOWERCASE) == NGX_OK {
                elements.set_len(count as usize);
            }
        }
    }
    elements
}

/// Text in the request's pool, where it stays until the request's end: callers bind it to the request.
fn bytes<'a>(text: FfiStr) -> &'a [u8] {
    // SAFETY: ngx_lua filled it from nginx's own list.
    unsafe { slice(text.data, usize::try_from(text.len).unwrap_or_default()) }
}

/// The value of a pseudo-header, by its name in lower case.
fn pseudo<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    match name {
        b":scheme" => variables::get(request, b"scheme").map(Cow::from),
        b":path" => path(request),
        b":method" => method(request).map(Cow::from),
        b":authority" => variables::get(request, b"http_host").map(Cow::from),
        _ => None,
    }
}

/// The path with its query as the client sent it, or as a plugin set it since.
fn path(request: &Request) -> Option<Cow<'_, [u8]>> {
    match worker::path_of(*request) {
        Some(path) => Some(Cow::Owned(path)),
        None => variables::get(request, b"request_uri").map(Cow::from),
    }
}

fn method(request: &Request) -> Option<&[u8]> {
    let (mut name, mut size) = (null(), 0);
    // SAFETY: the request lives; the name lives in its pool, or is one of nginx's own.
    unsafe {
        let result = (Symbols::get().ngx_http_lua_ffi_req_get_method_name)(request.as_ptr(), &mut name, &mut size);
        (result == NGX_OK).then(|| slice(name, size))
    }
}

fn set(request: Request, name: &[u8], value: Option<&[u8]>, replace: bool) -> Result<(), String> {
    let mut error = null();
    let (data, size) = value.map_or((null(), 0), |value| (value.as_ptr(), value.len()));
    // SAFETY: ngx_lua copies name and value.
    unsafe {
        let result = (Symbols::get().ngx_http_lua_ffi_req_set_header)(
            request.as_ptr(),
            name.as_ptr(),
            name.len(),
            data,
            size,
            null(),
            0,
            replace.into(),
            &mut error,
        );
        match result {
            // HTTP/0.9 has no headers.
            NGX_OK | NGX_DECLINED => Ok(()),
            code => Err(error_text(code, error)),
        }
    }
}

fn set_pseudo(request: Request, name: &[u8], value: &[u8]) -> Result<(), String> {
    match &*name.to_ascii_lowercase() {
        b":path" => set_path(request, value),
        b":method" => set_method(request, value),
        b":authority" => set(request, b"host", Some(value), true),
        b":scheme" => Err("the scheme is that of the client's connection, it can't be set".to_owned()),
        _ => Err("there is no such pseudo header".to_owned()),
    }
}

/// A path, with a query or without, is what nginx goes on with. What does not begin with `/` becomes its URI as it is, as in
/// wasm-nginx-module: a `?` in it is no query.
fn set_path(request: Request, path: &[u8]) -> Result<(), String> {
    let is_unsafe = |byte: &&u8| matches!(byte, 0x00..=0x08 | 0x0a..=0x1f | 0x7f);
    if let Some(byte) = path.iter().find(is_unsafe) {
        return Err(format!("invalid char \"{byte}\""));
    }
    if path.starts_with(b"/") {
        let (path, query) = memchr::memchr(b'?', path).map_or((path, &[][..]), |at| (&path[..at], &path[at + 1..]));
        let uri = unescape(path);
        if uri.contains(&0) {
            return Err("invalid char \"0\"".to_owned());
        }
        lua_api::set_uri(request, &uri, Some(query))?;
    } else {
        lua_api::set_uri(request, path, None)?;
    }
    worker::set_path_of(request, path);
    Ok(())
}

/// nginx keeps a URI without escapes, and escapes it anew for the upstream. A `%` without two digits stays as it is.
fn unescape(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut uri = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                uri.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                uri.push(*byte);
                at += 1;
            }
        }
    }
    uri
}

fn set_method(request: Request, method: &[u8]) -> Result<(), String> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if let Some(byte) = method.iter().find(|byte| !is_token(byte)) {
        return Err(format!("invalid char \"{byte}\""));
    }
    let symbols = Symbols::get();
    match KNOWN_METHODS.iter().find(|known| known.name.as_bytes() == method) {
        // SAFETY: the request lives.
        Some(known) => match unsafe { (symbols.ngx_http_lua_ffi_req_set_method)(request.as_ptr(), known.flag) } {
            NGX_OK => Ok(()),
            code => Err(format!("error {code}")),
        },
        None => set_unknown_method(request, method, symbols),
    }
}

/// Gives the request a method that nginx has no number for. Its number stays what it was, as in wasm-nginx-module.
///
/// ngx_lua sets `r->method_name` from a global for each method that it knows; that global lends its place for the call.
fn set_unknown_method(request: Request, method: &[u8], symbols: &'static Symbols) -> Result<(), String> {
    // SAFETY: the request lives.
    let flag = unsafe { (symbols.ngx_http_lua_ffi_req_get_method)(request.as_ptr()) };
    let known = KNOWN_METHODS.iter().find(|known| known.flag == flag).unwrap_or(&KNOWN_METHODS[0]);
    let name = request.allocate(method).ok_or("no memory")?;
    let global = (known.global)(symbols);
    // SAFETY: nginx has one thread, and reads the global nowhere between the two writes but in set_method.
    let result = unsafe {
        let original = global.read();
        global.write(NgxStr { len: method.len(), data: name });
        let result = (symbols.ngx_http_lua_ffi_req_set_method)(request.as_ptr(), known.flag);
        global.write(original);
        result
    };
    if result == NGX_OK { Ok(()) } else { Err(format!("error {result}")) }
}

/// A method of `ngx_http_request.h`.
struct KnownMethod {
    name: &'static str,
    flag: c_int,
    global: fn(&Symbols) -> *mut NgxStr,
}

macro_rules! known_methods {
    ($($name:literal $flag:literal $global:ident;)*) => {
        const KNOWN_METHODS: &[KnownMethod] =
            &[$(KnownMethod { name: $name, flag: $flag, global: |symbols| symbols.$global }),*];
    };
}

known_methods! {
    "GET" 0x2 ngx_http_lua_get_method;
    "HEAD" 0x4 ngx_http_lua_head_method;
    "POST" 0x8 ngx_http_lua_post_method;
    "PUT" 0x10 ngx_http_lua_put_method;
    "DELETE" 0x20 ngx_http_lua_delete_method;
    "MKCOL" 0x40 ngx_http_lua_mkcol_method;
    "COPY" 0x80 ngx_http_lua_copy_method;
    "MOVE" 0x100 ngx_http_lua_move_method;
    "OPTIONS" 0x200 ngx_http_lua_options_method;
    "PROPFIND" 0x400 ngx_http_lua_propfind_method;
    "PROPPATCH" 0x800 ngx_http_lua_proppatch_method;
    "LOCK" 0x1000 ngx_http_lua_lock_method;
    "UNLOCK" 0x2000 ngx_http_lua_unlock_method;
    "PATCH" 0x4000 ngx_http_lua_patch_method;
    "TRACE" 0x8000 ngx_http_lua_trace_method;
}
