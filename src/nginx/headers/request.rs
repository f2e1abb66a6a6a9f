use std::{borrow::Cow, ffi::c_int, ptr::null};

use base64ct::{Base64Unpadded, Encoding};
use proxy_wasm_runtime::{HeaderChange, abi::pairs::Pair};

use super::framing::{self, Framing, frames_request, is_token};
use crate::{
    nginx::{
        header_lists::{self, Headers},
        log, lua_api,
        request::{Phase, Request},
        symbols::{FfiStr, FfiTableElement, MethodNames, NGX_DECLINED, NGX_OK, NgxStr, Symbols},
        variables::{self, error_text, slice},
    },
    worker,
};

/// The headers in their order of arrival, those that frame the request behind them when a plugin changed one, then `:scheme`,
/// `:path`, `:method` and, if the client named one, `:authority`.
pub fn all(request: &Request) -> Vec<Pair<'_>> {
    fn borrowed<'a>((name, value): (&'a [u8], &'a [u8])) -> Pair<'a> {
        (Cow::from(name), Cow::from(value))
    }
    let mut pairs: Vec<Pair<'_>> = match worker::framing_of(*request) {
        None => list(request).map(borrowed).collect(),
        Some(framing) => {
            let others = list(request).filter(|(name, _)| !frames_request(name)).map(borrowed);
            others.chain(framing.into_pairs()).collect()
        }
    };
    for name in [&b":scheme"[..], b":path", b":method", b":authority"] {
        if let Some(value) = pseudo(request, name) {
            pairs.push((Cow::from(name), value));
        }
    }
    pairs
}

/// How many headers [`all`] gives.
pub fn count(request: Request) -> u32 {
    const HOST: &[u8] = b"host";
    const PSEUDO: u32 = 3;
    let (count, has_host) = match header_lists::request_headers(request) {
        Some(headers) if !worker::has_framing(request) => headers.count_and_find(HOST),
        _ => {
            let framing = worker::framing_of(request);
            let others = list(&request).filter(|(name, _)| framing.is_none() || !frames_request(name));
            let (others, has_host) =
                others.fold((0, false), |(count, found), (name, _)| (count + 1, found || name == HOST));
            (others + framing.as_ref().map_or(0, Framing::len), has_host)
        }
    };
    count + PSEUDO + u32::from(has_host || authority(&request).is_some())
}

/// The first header of the name.
pub fn get<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    if name.starts_with(b":") {
        return pseudo(request, &name.to_ascii_lowercase());
    }
    if worker::has_framing(*request)
        && frames_request(name)
        && let Some(framing) = worker::framing_of(*request)
    {
        return framing.get(name).map(|value| Cow::Owned(value.to_vec()));
    }
    in_list(request, name).map(Cow::from)
}

/// The headers that an nginx variable is made of, `http_NAME` by its NAME in lower case with underscores for dashes: the values
/// of repeated ones are joined as nginx joins them.
pub fn get_by_variable<'a>(request: &'a Request, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    let is_named = |header: &[u8]| {
        let letter = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
        header.len() == name.len() && header.iter().map(letter).eq(name.iter().copied())
    };
    let framing = worker::framing_of(*request);
    let is_edited = framing.is_some();
    if let Some((_, value)) = framing.and_then(|framing| framing.into_pairs().find(|(header, _)| is_named(header))) {
        return Some(value);
    }
    let mut values = list(request).filter(|(header, _)| is_named(header) && !(is_edited && frames_request(header)));
    let (_, first) = values.next()?;
    let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
    Some(values.fold(Cow::from(first), |mut joined, (_, value)| {
        joined.to_mut().extend_from_slice(separator);
        joined.to_mut().extend_from_slice(value);
        joined
    }))
}

/// The user's name of a request with HTTP's Basic authentication (RFC 7617), whether it is right or not.
pub fn basic_user(request: &Request) -> Option<Vec<u8>> {
    const SCHEME: &[u8] = b"Basic ";
    let value = get(request, b"authorization")?;
    let (scheme, encoded) = value.split_at_checked(SCHEME.len())?;
    let encoded = scheme.eq_ignore_ascii_case(SCHEME).then(|| encoded.trim_ascii_start())?;
    let encoded = std::str::from_utf8(encoded).ok()?;
    let mut user = Base64Unpadded::decode_vec(encoded.trim_end_matches('=')).ok()?;
    user.truncate(memchr::memchr(b':', &user)?);
    Some(user)
}

/// How long nginx takes the body to be, as text: what the client declared, or how much of it there was.
pub fn content_length(request: &Request) -> Option<&[u8]> {
    in_list(request, b"content-length").or_else(|| variables::read(request, b"content_length"))
}

/// Changes a header. `:path`, `:method` and `:authority` can be replaced; errors are those of wasm-nginx-module.
///
/// What frames the request changes for plugins alone: nginx reads the body by what the client declared, and frames what it sends
/// to the upstream itself.
pub fn change(request: Request, name: &[u8], change: HeaderChange<'_>) {
    // HTTP/2 has no blanks around a value, which HTTP/1.1 leaves out (RFC 9113 §8.2.1).
    let change = match change {
        HeaderChange::Add(value) => HeaderChange::Add(value.trim_ascii()),
        HeaderChange::Replace(value) => HeaderChange::Replace(value.trim_ascii()),
        HeaderChange::Remove => HeaderChange::Remove,
    };
    let result = match change {
        _ if name.starts_with(b":") => change_pseudo(request, name, change),
        HeaderChange::Remove | HeaderChange::Replace(b"") if name.is_empty() => Ok(()),
        _ => check(name, change).and_then(|()| change_header(request, name, change)),
    };
    if let Err(reason) = result {
        let name = name.escape_ascii();
        log::error(request, format_args!("failed to set request header {name}: {reason}"));
    }
}

fn change_header(request: Request, name: &[u8], change: HeaderChange<'_>) -> Result<(), String> {
    match change {
        _ if frames_request(name) => change_framing(request, name, change),
        _ if header_lists::is_request_list_shared(request) => Err(SHARED.to_owned()),
        HeaderChange::Add(b"") if header_lists::add_empty_request_header(request, name) => Ok(()),
        HeaderChange::Add(value) => set(request, name, Some(value), false),
        HeaderChange::Replace(value) => set(request, name, Some(value), true),
        HeaderChange::Remove => set(request, name, None, true),
    }
}

const SHARED: &str = "a subrequest has the headers of its request, they can't be changed for it alone";

fn change_framing(request: Request, name: &[u8], change: HeaderChange<'_>) -> Result<(), String> {
    let client = || Framing::new(list(&request).filter(|(name, _)| frames_request(name)));
    worker::change_framing(request, client, |framing| framing.change(name, change))
        .unwrap_or_else(|| Err("what frames a request can't be changed at its end".to_owned()))
}

/// Refuses what the next hop would take for something else.
fn check(name: &[u8], change: HeaderChange<'_>) -> Result<(), String> {
    let (HeaderChange::Add(value) | HeaderChange::Replace(value)) = change else { return framing::check(name, b"") };
    framing::check(name, value)?;
    if !name.eq_ignore_ascii_case(b"host") {
        return Ok(());
    }
    match value.iter().find(|byte| b" \t/?#".contains(byte)) {
        Some(byte) => Err(format!("invalid char \"{}\" in a host", byte.escape_ascii())),
        None if value.is_empty() && matches!(change, HeaderChange::Add(_)) => Err("a host has a name".to_owned()),
        None => Ok(()),
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

/// The first header of the name, as nginx has it.
#[inline]
fn in_list<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    match header_lists::request_headers(*request) {
        Some(headers) => headers.value_of(name),
        None => list(request).find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value),
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
        b":scheme" => variables::read(request, b"scheme").map(Cow::from),
        b":path" => path(request),
        b":method" => method(request).map(Cow::from),
        b":authority" => authority(request).map(Cow::from),
        _ => None,
    }
}

/// The host by which nginx routes, with its port: that of the Host header, unless the request's target names another.
fn authority(request: &Request) -> Option<&[u8]> {
    let routed = variables::read(request, b"host")?;
    let is_routed = |authority: &&[u8]| host_of(authority).eq_ignore_ascii_case(routed);
    let header = in_list(request, b"host");
    header.filter(is_routed).or_else(|| {
        let target = target_authority(request).filter(is_routed);
        // Newer nginx keeps HTTP/2's and HTTP/3's apart. Without any it is the server's name, which the client has not asked for.
        target.or_else(|| (header.is_some() || request.is_multiplexed()).then_some(routed))
    })
}

/// The host of an authority as nginx compares it: without the port, and without a dot at its end.
fn host_of(authority: &[u8]) -> &[u8] {
    let end = match authority {
        [b'[', ..] => memchr::memchr(b']', authority).map(|at| at + 1),
        _ => memchr::memchr(b':', authority),
    };
    let host = &authority[..end.unwrap_or(authority.len())];
    host.strip_suffix(b".").unwrap_or(host)
}

/// The authority of a target in absolute form: `GET http://host:port/ HTTP/1.1`.
fn target_authority(request: &Request) -> Option<&[u8]> {
    let target = variables::read(request, b"request")?.split(|byte| *byte == b' ').nth(1)?;
    let start = memchr::memmem::find(target, b"://").filter(|at| !target[..*at].contains(&b'/'))? + 3;
    target[start..].split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()
}

/// The path with its query as the client sent it, or as a plugin set it since.
fn path(request: &Request) -> Option<Cow<'_, [u8]>> {
    match worker::path_of(*request) {
        Some(path) => Some(Cow::Owned(path)),
        // nginx gives a subrequest the target of its parent.
        None if request.is_subrequest() => subrequest_path(request).map(Cow::Owned),
        None => variables::read(request, b"request_uri").map(Cow::from),
    }
}

fn subrequest_path(request: &Request) -> Option<Vec<u8>> {
    let mut path = escape(variables::read(request, b"uri")?);
    if let Some(query) = variables::read(request, b"args").filter(|query| !query.is_empty()) {
        path.push(b'?');
        path.extend_from_slice(query);
    }
    Some(path)
}

/// nginx's URI, which has no escapes, as a path.
fn escape(uri: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(uri.len());
    for byte in uri {
        match byte {
            ..=b' ' | b'%' | b'?' | b'#' | 0x7f.. => path.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            byte => path.push(*byte),
        }
    }
    path
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

fn change_pseudo(request: Request, name: &[u8], change: HeaderChange<'_>) -> Result<(), String> {
    let (HeaderChange::Add(value) | HeaderChange::Replace(value)) = change else {
        return Err("can't remove pseudo header".to_owned());
    };
    let name = name.to_ascii_lowercase();
    match &*name {
        _ if value.is_empty() => Err("can't remove pseudo header".to_owned()),
        // As in a map that is written back.
        b":method" | b":scheme" if pseudo(&request, &name).as_deref() == Some(value) => Ok(()),
        b":path" => set_path(request, value),
        b":method" => set_method(request, value),
        b":authority" => {
            check(b"host", change)?;
            change_header(request, b"host", change)
        }
        b":scheme" => Err("the scheme is that of the client's connection, it can't be set".to_owned()),
        _ => Err("there is no such pseudo header".to_owned()),
    }
}

/// A path, with a query or without, is what nginx goes on with. What does not begin with `/` becomes its URI as it is, as in
/// wasm-nginx-module, where no upstream will be asked for it: a `?` in it is no query.
fn set_path(request: Request, path: &[u8]) -> Result<(), String> {
    let is_unsafe = |byte: &&u8| matches!(byte, 0x00..=0x08 | 0x0a..=0x1f | 0x7f);
    if let Some(byte) = path.iter().find(is_unsafe) {
        return Err(format!("invalid char \"{byte}\""));
    }
    if path.starts_with(b"/") {
        let (escaped, query) = split_query(path);
        let (uri, query) = (unescape(escaped), escape_blanks(query.unwrap_or_default()));
        if uri.contains(&0) {
            return Err("invalid char \"0\"".to_owned());
        }
        let goes_on_with = |variable, value: &[u8]| variables::get(&request, variable).unwrap_or_default() == value;
        if self::path(&request).as_deref() == Some(path) && goes_on_with(b"uri", &uri) && goes_on_with(b"args", &query)
        {
            // As in a map that is written back: the upstream gets the path as the client wrote it.
            return Ok(());
        }
        lua_api::set_uri(request, &uri, Some(&query))?;
    } else if request.phase() == Some(Phase::CONTENT) {
        lua_api::set_uri(request, path, None)?;
    } else {
        return Err("a path begins with \"/\"".to_owned());
    }
    worker::set_path_of(request, path);
    Ok(())
}

/// Has `:path` say what nginx goes on with after the variable `args` was set.
pub fn follow_query(request: Request, query: &[u8]) {
    let Some(path) = path(&request) else { return };
    let (path, _) = split_query(&path);
    let path = if query.is_empty() { path.to_vec() } else { [path, b"?", query].concat() };
    worker::set_path_of(request, &path);
}

fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    memchr::memchr(b'?', path).map_or((path, None), |at| (&path[..at], Some(&path[at + 1..])))
}

/// A query without what would end the request's target. ngx_lua does so since 0.10.20.
fn escape_blanks(query: &[u8]) -> Cow<'_, [u8]> {
    if !query.iter().any(|byte| matches!(byte, b' ' | b'\t')) {
        return Cow::from(query);
    }
    let mut escaped = Vec::with_capacity(query.len() + 8);
    for byte in query {
        match byte {
            b' ' => escaped.extend_from_slice(b"%20"),
            b'\t' => escaped.extend_from_slice(b"%09"),
            byte => escaped.push(*byte),
        }
    }
    Cow::from(escaped)
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

/// nginx frames the response by the method's number, and asks the upstream for the method's name: the number of HEAD stays, for
/// the client waits for no body whatever the upstream sends. The other way round nobody could give the client its body.
fn set_method(request: Request, method: &[u8]) -> Result<(), String> {
    if let Some(byte) = method.iter().find(|byte| !is_token(**byte)) {
        return Err(format!("invalid char \"{byte}\""));
    }
    let symbols = Symbols::get();
    let is_head = request.is_head();
    let known = KNOWN_METHODS.iter().find(|known| known.name.as_bytes() == method);
    if method.eq_ignore_ascii_case(b"CONNECT") {
        return Err("it would make a tunnel of the upstream's connection".to_owned());
    }
    // nginx takes it for HEAD in any case, the upstream need not.
    if method.eq_ignore_ascii_case(b"HEAD") && (!is_head || known.is_none()) {
        return Err("the client waits for a body, which the response to HEAD does not have".to_owned());
    }
    match known {
        Some(known) if !is_head || known.name == "HEAD" => {
            // SAFETY: the request lives.
            match unsafe { (symbols.ngx_http_lua_ffi_req_set_method)(request.as_ptr(), known.flag) } {
                NGX_OK => Ok(()),
                code => Err(format!("error {code}")),
            }
        }
        _ => set_method_name(request, method, symbols),
    }
}

/// Gives the request a method of another name. Its number stays what it is.
///
/// ngx_lua sets `r->method_name` from a global for each method that it knows; that global lends its place for the call.
fn set_method_name(request: Request, method: &[u8], symbols: &'static Symbols) -> Result<(), String> {
    // SAFETY: the request lives.
    let flag = unsafe { (symbols.ngx_http_lua_ffi_req_get_method)(request.as_ptr()) };
    let known = KNOWN_METHODS.iter().find(|known| known.flag == flag).unwrap_or(&KNOWN_METHODS[0]);
    let name = request.allocate(method).ok_or("no memory")?;
    let names = symbols.methods.as_ref().map_err(|missing| format!("this nginx {missing}"))?;
    let global = (known.global)(names);
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
    global: fn(&MethodNames) -> *mut NgxStr,
}

macro_rules! known_methods {
    ($($name:literal $flag:literal $global:ident;)*) => {
        const KNOWN_METHODS: &[KnownMethod] =
            &[$(KnownMethod { name: $name, flag: $flag, global: |names| names.$global }),*];
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
