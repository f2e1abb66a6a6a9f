//! The list of response headers, for which nginx and ngx_lua export no function.
//!
//! Both lists of headers in a request are an `ngx_list_t` made by `ngx_list_init(…, 20, sizeof(ngx_table_elt_t))`: first that
//! of the request, then that of the response. Where they are is found out once, from a request whose header list ngx_lua
//! describes (docs/adr/0001).

use std::{ffi::c_int, ptr::null};

use once_cell::race::OnceNonZeroUsize;
use proxy_wasm_host::{Host, abi::LogLevel};

use super::{
    Nginx,
    request::Request,
    symbols::{FfiStr, FfiTableElement, NGX_OK, Symbols},
    variables::slice,
};

/// `ngx_list_part_t`
#[repr(C)]
struct Part {
    elements: *const u8,
    count: usize,
    next: *const Part,
}

/// `ngx_list_t`
#[repr(C)]
struct List {
    last: *const Part,
    part: Part,
    element_size: usize,
    capacity: usize,
    pool: *const u8,
}

/// The head of `ngx_table_elt_t`, the same in every release; 48 bytes in all before nginx 1.23, 56 since.
#[repr(C)]
struct Element {
    hash: usize,
    key_size: usize,
    key: *const u8,
    value_size: usize,
    value: *const u8,
}

/// A request is larger than this in every release, and both lists begin before.
const SEARCHED: usize = 1024;

/// Where the response's list begins in a request, in bytes; `NOT_FOUND` when it is not where it is expected.
static OFFSET: OnceNonZeroUsize = OnceNonZeroUsize::new();
const NOT_FOUND: usize = usize::MAX;

/// Names and values of the response headers that are in nginx's list.
pub fn headers<'a>(request: Request) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let list = list(request);
    // SAFETY: a list that nginx keeps in order; its parts and elements live in the request's pool.
    let first = list.map_or(null(), |list| unsafe { &raw const (*list).part });
    let element_size = list.map_or(0, |list| unsafe { (*list).element_size });
    let parts = std::iter::successors(unsafe { first.as_ref() }, |part| unsafe { part.next.as_ref() });
    parts
        .flat_map(move |part| (0..part.count).map(move |index| unsafe { part.elements.add(index * element_size) }))
        .map(|element| unsafe { &*element.cast::<Element>() })
        .filter(|element| element.hash != 0)
        .map(|element| unsafe { (slice(element.key, element.key_size), slice(element.value, element.value_size)) })
}

fn list(request: Request) -> Option<*const List> {
    let offset = match OFFSET.get() {
        Some(offset) => offset.get(),
        None => find(request)?,
    };
    // SAFETY: the offset was found in a request, and is the same in all.
    (offset != NOT_FOUND).then(|| unsafe { request.as_ptr().byte_add(offset).cast::<List>().cast_const() })
}

/// Searches a request for its two lists. `None` when this request can't tell: it has no headers to compare.
fn find(request: Request) -> Option<usize> {
    let described = describe_request_headers(request)?;
    let base = request.as_ptr().cast_const().cast::<u8>();
    // SAFETY: a request is larger than what is searched, and aligned to 8 bytes.
    let candidate = |offset: &usize| looks_like_headers(unsafe { &*base.add(*offset).cast::<List>() });
    let mut offsets = (0..SEARCHED - size_of::<List>()).step_by(8).filter(candidate);
    let (of_request, of_response) = (offsets.next(), offsets.next());

    // SAFETY: both have passed the check.
    let list = |offset: usize| unsafe { &*base.add(offset).cast::<List>() };
    let found = match (of_request, of_response) {
        (Some(first), Some(second))
            if begins_with(list(first), &described) && list(first).pool == list(second).pool =>
        {
            second
        }
        _ => {
            let message = "the list of response headers is not where this library expects it in this nginx: \
                           plugins will not see all response headers";
            Nginx.log(None, LogLevel::Error, message.as_bytes());
            NOT_FOUND
        }
    };
    let found = std::num::NonZeroUsize::new(found)?;
    let _ = OFFSET.set(found);
    Some(found.get())
}

/// The first header of the request, in ngx_lua's words.
fn describe_request_headers(request: Request) -> Option<FfiTableElement> {
    const RAW: c_int = 1;
    let empty = FfiStr { len: 0, data: null() };
    let mut element = FfiTableElement { key: empty, value: empty };
    let mut truncated = 0;
    let symbols = Symbols::get();
    // SAFETY: the request lives; there is room for one element.
    unsafe {
        let count = (symbols.ngx_http_lua_ffi_req_get_headers_count)(request.as_ptr(), 1, &mut truncated);
        let got =
            count == 1 && (symbols.ngx_http_lua_ffi_req_get_headers)(request.as_ptr(), &mut element, 1, RAW) == NGX_OK;
        got.then_some(element)
    }
}

fn looks_like_headers(list: &List) -> bool {
    let is_whole = !list.part.next.is_null() || std::ptr::eq(list.last, &list.part);
    matches!(list.element_size, 48 | 56)
        && list.capacity == 20
        && list.part.count <= list.capacity
        && !list.part.elements.is_null()
        && !list.pool.is_null()
        && is_whole
}

fn begins_with(list: &List, described: &FfiTableElement) -> bool {
    // SAFETY: the list looks like one with room for 20 elements.
    let first = unsafe { &*list.part.elements.cast::<Element>() };
    list.part.count > 0
        && first.key == described.key.data
        && first.value == described.value.data
        && c_int::try_from(first.key_size) == Ok(described.key.len)
        && c_int::try_from(first.value_size) == Ok(described.value.len)
}
