//! The list of response headers, for which nginx and ngx_lua export no function.
//!
//! Both lists of headers in a request are an `ngx_list_t` made by `ngx_list_init(…, 20, sizeof(ngx_table_elt_t))`: first that
//! of the request, then that of the response. Where they are is found out once, from a request whose header list ngx_lua
//! describes (docs/adr/0001).

use std::{ffi::c_int, num::NonZeroUsize, ptr::null};

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
    let offset = OFFSET.get().map_or_else(|| find(request), |offset| Some(offset.get()))?;
    // SAFETY: the offset was found in a request, and is the same in all.
    (offset != NOT_FOUND).then(|| unsafe { request.as_ptr().byte_add(offset).cast::<List>().cast_const() })
}

/// Searches a request for its two lists, and remembers where the second is if its headers prove which the first is.
fn find(request: Request) -> Option<usize> {
    let described = describe_request_headers(request)?;
    let base = request.as_ptr().cast_const().cast::<u8>();
    // SAFETY: a request is larger than what is searched, and aligned to 8 bytes.
    let list = |offset: &usize| unsafe { &*base.add(*offset).cast::<List>() };
    let is_second = |first: &List, second: &usize| {
        list(second).pool == first.pool && list(second).element_size == first.element_size
    };
    let mut offsets = (0..SEARCHED - size_of::<List>()).step_by(8).filter(|offset| looks_like_headers(list(offset)));
    let first = offsets.find(|offset| is_described(list(offset), &described));
    let second = first.and_then(|first| offsets.find(|offset| is_second(list(&first), offset)));
    match (second, described) {
        (Some(second), Described::First(_)) => remember(second),
        (Some(second), Described::None) => Some(second),
        (None, Described::First(_)) => {
            let message = "the list of response headers is not where this library expects it in this nginx: \
                           plugins will not see all response headers";
            Nginx.log(None, LogLevel::Error, message.as_bytes());
            remember(NOT_FOUND)
        }
        (None, Described::None) => None,
    }
}

fn remember(offset: usize) -> Option<usize> {
    let _ = OFFSET.set(NonZeroUsize::new(offset)?);
    Some(offset)
}

/// The request's headers, in ngx_lua's words.
enum Described {
    /// There is none.
    None,
    /// There are some, and this is the first.
    First(FfiTableElement),
}

/// `None` when ngx_lua can't tell, as for the fake request of a timer.
fn describe_request_headers(request: Request) -> Option<Described> {
    const RAW: c_int = 1;
    let empty = FfiStr { len: 0, data: null() };
    let mut element = FfiTableElement { key: empty, value: empty };
    let mut truncated = 0;
    let symbols = Symbols::get();
    // SAFETY: the request lives; there is room for one element.
    unsafe {
        match (symbols.ngx_http_lua_ffi_req_get_headers_count)(request.as_ptr(), 1, &mut truncated) {
            0 => Some(Described::None),
            1 => {
                let got = (symbols.ngx_http_lua_ffi_req_get_headers)(request.as_ptr(), &mut element, 1, RAW);
                (got == NGX_OK).then_some(Described::First(element))
            }
            _ => None,
        }
    }
}

/// ngx_lua counts the capacity down when it removes a header of the request.
fn looks_like_headers(list: &List) -> bool {
    let is_whole = !list.part.next.is_null() || std::ptr::eq(list.last, &list.part);
    matches!(list.element_size, 48 | 56)
        && (1..=20).contains(&list.capacity)
        && list.part.count <= 20
        && !list.part.elements.is_null()
        && !list.pool.is_null()
        && is_whole
}

fn is_described(list: &List, described: &Described) -> bool {
    let Described::First(described) = described else { return list.part.count == 0 };
    // SAFETY: the list looks like one, and has an element.
    list.part.count > 0
        && unsafe {
            let first = &*list.part.elements.cast::<Element>();
            first.key == described.key.data
                && first.value == described.value.data
                && c_int::try_from(first.key_size) == Ok(described.key.len)
                && c_int::try_from(first.value_size) == Ok(described.value.len)
        }
}
