//! The lists of request and response headers.
//!
//! nginx and ngx_lua export no function for that of the response, and a slow one for that of the request. Both are an
//! `ngx_list_t` in the request, made by `ngx_list_init(…, 20, sizeof(ngx_table_elt_t))`: first the request's, then the
//! response's. Where they are is found out once, from a request whose header list ngx_lua describes (docs/adr/0001).

use std::{
    ffi::c_int,
    num::NonZeroUsize,
    ptr::null,
    sync::atomic::{AtomicBool, Ordering},
};

use once_cell::race::OnceNonZeroUsize;
use proxy_wasm_runtime::{Host, abi::LogLevel};

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

impl List {
    /// Whether its last part is one of its own.
    fn is_whole(&self) -> bool {
        !self.part.next.is_null() || std::ptr::eq(self.last, &self.part)
    }
}

/// The head of `ngx_table_elt_t`, the same in every release; 48 bytes in all before nginx 1.23, 56 since.
#[repr(C)]
struct Element {
    hash: usize,
    key_size: usize,
    key: *const u8,
    value_size: usize,
    value: *const u8,
    /// As long as the key; set for headers of the request alone.
    lowercase_key: *const u8,
}

/// A request is larger than this in every release, and both lists begin before.
const SEARCHED: usize = 1024;

/// How many elements a part of a list of headers has room for.
const CAPACITY: usize = 20;

/// Where a list begins in a request, in bytes.
static REQUEST: OnceNonZeroUsize = OnceNonZeroUsize::new();
static RESPONSE: OnceNonZeroUsize = OnceNonZeroUsize::new();

/// A header in one of the lists.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// As it was written.
    pub name: &'a [u8],
    pub value: &'a [u8],
    lowercase: *const u8,
}

impl<'a> Header<'a> {
    /// The name in lower case, where nginx keeps it.
    pub fn lowercase_name(&self) -> Option<&'a [u8]> {
        // SAFETY: nginx keeps it beside the name, as long as that.
        (!self.lowercase.is_null()).then(|| unsafe { slice(self.lowercase, self.name.len()) })
    }
}

/// The headers of a list, in their order.
pub struct Headers<'a> {
    list: &'a List,
    part: Option<&'a Part>,
    index: usize,
}

impl<'a> Headers<'a> {
    #[inline]
    fn at(request: Request, offset: usize) -> Self {
        // SAFETY: the offset was found in a request and is the same in all. nginx keeps the list in order, and its parts and
        // elements in the request's pool.
        let list = unsafe { &*request.as_ptr().byte_add(offset).cast::<List>() };
        Self { list, part: Some(&list.part), index: 0 }
    }

    /// The value of the first header of a name, in any case.
    #[inline]
    pub fn value_of(mut self, name: &[u8]) -> Option<&'a [u8]> {
        while let Some(part) = self.part {
            for index in 0..part.count {
                // SAFETY: as in `at`.
                let element = unsafe { &*part.elements.add(index * self.list.element_size).cast::<Element>() };
                if element.key_size == name.len()
                    && element.hash != 0
                    // SAFETY: as in `at`.
                    && unsafe { slice(element.key, element.key_size) }.eq_ignore_ascii_case(name)
                {
                    // SAFETY: as in `at`.
                    return Some(unsafe { slice(element.value, element.value_size) });
                }
            }
            // SAFETY: as in `at`.
            self.part = unsafe { part.next.as_ref() };
        }
        None
    }

    /// How many headers there are, and whether one of them has this name, which is in lower case.
    #[inline]
    pub fn count_and_find(mut self, name: &[u8]) -> (u32, bool) {
        let (mut count, mut found) = (0, false);
        while let Some(part) = self.part {
            for index in 0..part.count {
                // SAFETY: as in `at`.
                let element = unsafe { &*part.elements.add(index * self.list.element_size).cast::<Element>() };
                count += u32::from(element.hash != 0);
                if element.key_size == name.len() && element.hash != 0 && !found {
                    // SAFETY: as in `at`.
                    found = unsafe { slice(element.key, element.key_size) }.eq_ignore_ascii_case(name);
                }
            }
            // SAFETY: as in `at`.
            self.part = unsafe { part.next.as_ref() };
        }
        (count, found)
    }

    /// The next element that counts: those without a hash were removed.
    #[inline]
    fn next_element(&mut self) -> Option<*const Element> {
        loop {
            let part = self.part?;
            if self.index == part.count {
                // SAFETY: as in `at`.
                self.part = unsafe { part.next.as_ref() };
                self.index = 0;
                continue;
            }
            // SAFETY: as in `at`; the part has more elements than the index says.
            let element = unsafe { part.elements.add(self.index * self.list.element_size).cast::<Element>() };
            self.index += 1;
            // SAFETY: as in `at`.
            if unsafe { (*element).hash } != 0 {
                return Some(element);
            }
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        // SAFETY: as in `at`.
        let element = unsafe { &*self.next_element()? };
        // SAFETY: as in `at`; names and values have the sizes that stand beside them.
        Some(unsafe {
            Header {
                name: slice(element.key, element.key_size),
                value: slice(element.value, element.value_size),
                lowercase: element.lowercase_key,
            }
        })
    }
}

/// The request's headers; `None` when it is not known where they are.
#[inline]
pub fn request_headers<'a>(request: Request) -> Option<Headers<'a>> {
    let offset = REQUEST.get().map(NonZeroUsize::get).or_else(|| find(request).map(|found| found.0))?;
    Some(Headers::at(request, offset))
}

/// The response headers that are in nginx's list; `None` when it is not known where that is.
#[inline]
pub fn response_headers<'a>(request: Request) -> Option<Headers<'a>> {
    let offset = RESPONSE.get().map(NonZeroUsize::get).or_else(|| find(request).map(|found| found.1))?;
    Some(Headers::at(request, offset))
}

/// The response's trailers; `None` when nginx has no list of them where it has been since 1.13.2: behind that of the headers.
pub fn response_trailers<'a>(request: Request) -> Option<Headers<'a>> {
    trailers(request).map(|list| Headers { list, part: Some(&list.part), index: 0 })
}

/// Whether a subrequest has a copy of its parent's list, as nginx makes it for those of its own: it shares the elements, and what
/// is added goes to a part of the parent's.
pub fn is_request_list_shared(request: Request) -> bool {
    request_headers(request).is_none_or(|Headers { list, .. }| !std::ptr::eq(list.last, &list.part))
        && request.is_subrequest()
}

/// Adds a header without a value to those of the request: ngx_lua gives such a one no hash, by which it would count as removed
/// here, and nginx would not find what its configuration has instead. Returns whether it is known where the list is, and memory.
pub fn add_empty_request_header(request: Request, name: &[u8]) -> bool {
    let Some(headers) = request_headers(request) else { return false };
    let lowercase = name.to_ascii_lowercase();
    let (Some(key), Some(lowercase_key)) = (request.allocate(name), request.allocate(&lowercase)) else { return false };
    // ngx_hash_key
    let hash = lowercase.iter().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    // Values of headers end with NUL.
    let value = c"".as_ptr().cast();
    push(headers.list, Element { hash, key_size: name.len(), key, value_size: 0, value, lowercase_key })
}

/// Adds a trailer. Returns whether there was a list, and memory.
pub fn add_response_trailer(request: Request, name: &[u8], value: &[u8]) -> bool {
    let text = [name, &name.to_ascii_lowercase(), value].map(|text| request.allocate(text));
    let (Some(list), [Some(key), Some(lowercase_key), Some(data)]) = (trailers(request), text) else { return false };
    push(list, Element { hash: 1, key_size: name.len(), key, value_size: value.len(), value: data, lowercase_key })
}

/// Adds an element whose texts live as long as the request. Returns whether there was memory.
fn push(list: &List, element: Element) -> bool {
    // SAFETY: the list is nginx's own, and was checked. A new element has room for the head of one; what is behind that in
    // newer releases (`next`) leads from one that nginx refers to by itself to others of its name, and this is none of them.
    unsafe {
        let new = (Symbols::get().ngx_list_push)((&raw const *list).cast_mut().cast());
        if new.is_null() {
            return false;
        }
        new.cast::<u8>().write_bytes(0, list.element_size);
        new.cast::<Element>().write(element);
    }
    true
}

/// Removes the trailers of a name.
pub fn remove_response_trailers(request: Request, name: &[u8]) {
    remove_trailers(request, |other| other.eq_ignore_ascii_case(name));
}

/// Removes all trailers.
pub fn clear_response_trailers(request: Request) {
    remove_trailers(request, |_| true);
}

fn remove_trailers(request: Request, is_removed: impl Fn(&[u8]) -> bool) {
    let Some(mut trailers) = response_trailers(request) else { return };
    while let Some(element) = trailers.next_element() {
        // SAFETY: as in `at`; nginx passes over elements without a hash, and nothing else refers to them.
        unsafe {
            if is_removed(slice((*element).key, (*element).key_size)) {
                (*element.cast_mut()).hash = 0;
            }
        }
    }
}

fn trailers<'a>(request: Request) -> Option<&'a List> {
    const TRAILERS: usize = 4;
    let headers = response_headers(request)?.list;
    // SAFETY: still inside of the request, which is larger than what was searched for the list before.
    let list = unsafe { &*(&raw const *headers).add(1) };
    let is_list = list.pool == headers.pool
        && list.element_size == headers.element_size
        && list.capacity == TRAILERS
        && list.is_whole();
    is_list.then_some(list)
}

/// Searches a request for its two lists, and remembers where they are if its headers prove which the first is. That they are not
/// found in one request says nothing of the next: it is searched again.
#[cold]
fn find(request: Request) -> Option<(usize, usize)> {
    let described = describe_request_headers(request)?;
    let base = request.as_ptr().cast_const().cast::<u8>();
    // SAFETY: a request is larger than what is searched, and aligned to 8 bytes.
    let list = |offset: &usize| unsafe { &*base.add(*offset).cast::<List>() };
    let is_second = |first: &List, second: &usize| {
        let second = list(second);
        looks_like_headers(second)
            && second.is_whole()
            && second.pool == first.pool
            && second.element_size == first.element_size
            && second.capacity == CAPACITY
    };
    let mut offsets = (0..SEARCHED - size_of::<List>()).step_by(8);
    let first = offsets.find(|offset| looks_like_headers(list(offset)) && is_described(list(offset), &described));
    let second = first.and_then(|first| offsets.find(|offset| is_second(list(&first), offset)));
    match (first.zip(second), described) {
        (Some(found), Described::First(_)) => remember(found),
        (Some(found), Described::None) => Some(found),
        (None, Described::First(_)) => {
            report_unknown();
            None
        }
        (None, Described::None) => None,
    }
}

fn remember(found: (usize, usize)) -> Option<(usize, usize)> {
    let _ = REQUEST.set(NonZeroUsize::new(found.0)?);
    let _ = RESPONSE.set(NonZeroUsize::new(found.1)?);
    Some(found)
}

/// Says so once.
fn report_unknown() {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    if !IS_REPORTED.swap(true, Ordering::Relaxed) {
        let message = "the lists of headers are not where this library expects them in this nginx: \
                       plugins do not see all response headers, and can't replace them";
        Nginx.log(None, LogLevel::Error, message.as_bytes());
    }
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
    matches!(list.element_size, 48 | 56)
        && (1..=CAPACITY).contains(&list.capacity)
        && list.part.count <= CAPACITY
        && !list.part.elements.is_null()
        && !list.pool.is_null()
}

/// nginx copies the request's list into a subrequest, where it still says that its last part is the parent's: only its elements
/// prove which it is.
fn is_described(list: &List, described: &Described) -> bool {
    let Described::First(described) = described else { return list.part.count == 0 && list.is_whole() };
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
