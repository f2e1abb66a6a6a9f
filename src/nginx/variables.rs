//! nginx variables.

use std::{
    cell::{Cell, RefCell},
    ffi::{CStr, c_int, c_uchar},
};

use smallvec::{SmallVec, smallvec};

use super::{
    one_thread::OneThread,
    request::Request,
    symbols::{NGX_OK, Symbols},
    ticker,
};

/// Where ngx_lua puts a name in lower case: as long as the name.
type Lowercase = SmallVec<[c_uchar; 64]>;

/// How many readings are remembered at once, of names of at most [`MAX_NAME_SIZE`] bytes.
const MAX_READINGS: usize = 64;
const MAX_NAME_SIZE: usize = 128;

/// What nginx may take of a request's pool for a reading beside the value: a variable that no configuration uses has
/// an `ngx_http_variable_value_t` made for each.
const PER_READING: usize = 32;

/// A variable as it was read: evaluating it anew may take memory of the request's pool each time.
struct Reading {
    request: usize,
    name: SmallVec<[u8; 32]>,
    /// In the request's pool, or where it lives longer. It is looked at while the callback runs that has read it.
    value: Option<(*const c_uchar, usize)>,
}

struct Readings {
    /// Of the callback that runs.
    remembered: RefCell<Vec<Reading>>,
    has_some: Cell<bool>,
    /// The bytes that all readings may have taken of pools; wraps.
    kept: Cell<usize>,
}

static READINGS: OneThread<Readings> =
    OneThread::new(Readings { remembered: RefCell::new(Vec::new()), has_some: Cell::new(false), kept: Cell::new(0) });

/// As [`get`], for a guest: in one callback a variable is evaluated once, until something changes.
pub fn read<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    if !ticker::runs() {
        return get(request, name);
    }
    if let Some(value) = remembered(request, name) {
        return value;
    }
    let value = get(request, name);
    let size = value.map_or(0, <[u8]>::len);
    READINGS.kept.set(READINGS.kept.get().wrapping_add(PER_READING + size));
    remember(request, name, value);
    value
}

/// What was read of a variable; `None` when nothing is remembered of it.
fn remembered<'a>(request: &'a Request, name: &[u8]) -> Option<Option<&'a [u8]>> {
    let remembered = READINGS.remembered.borrow();
    let is_same = |reading: &&Reading| reading.request == request.key() && *reading.name == *name;
    let value = remembered.iter().find(is_same)?.value;
    // SAFETY: the callback that has read it, and with it the request, goes on: else it were forgotten.
    Some(value.map(|(data, size)| unsafe { slice(data, size) }))
}

fn remember(request: &Request, name: &[u8], value: Option<&[u8]>) {
    let mut remembered = READINGS.remembered.borrow_mut();
    if remembered.len() < MAX_READINGS && name.len() <= MAX_NAME_SIZE {
        let value = value.map(|value| (value.as_ptr(), value.len()));
        remembered.push(Reading { request: request.key(), name: name.into(), value });
        READINGS.has_some.set(true);
    }
}

/// Nothing that was read is known any more: a callback begins or ends, or something has changed.
#[inline]
pub fn forget_readings() {
    if READINGS.has_some.replace(false) {
        READINGS.remembered.borrow_mut().clear();
    }
}

/// How many bytes of pools the readings of guests may have taken since the process began; wraps.
#[inline]
pub fn kept() -> usize {
    READINGS.kept.get()
}

/// The value of a variable; `None` when there is none of the name, or it has no value.
pub fn get<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    let mut lowercase: Lowercase = smallvec![0; name.len()];
    let (mut value, mut size, mut error) = (std::ptr::null(), 0, std::ptr::null());
    // SAFETY: the buffers have the lengths given; 0 is no capture. The value lives in the request's pool, or longer.
    unsafe {
        let found = (Symbols::get().ngx_http_lua_ffi_var_get)(
            request.as_ptr(),
            name.as_ptr(),
            name.len(),
            lowercase.as_mut_ptr(),
            0,
            &mut value,
            &mut size,
            &mut error,
        );
        (found == NGX_OK).then(|| slice(value, size))
    }
}

/// Why a variable was not set.
pub struct Refused {
    /// The configuration defines no variable of the name: it is not that it can't be changed.
    pub is_unknown: bool,
    /// ngx_lua's words.
    pub reason: String,
}

/// Sets a variable.
///
/// # Errors
/// When it can't be set.
pub fn set(request: Request, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    const BEFORE_NAME: &[u8] = b"variable \"";
    const UNKNOWN: &[u8] = b"\" not found for writing";

    forget_readings();
    let mut lowercase: Lowercase = smallvec![0; name.len().max(1)];
    // The message has the name in it.
    let mut message: SmallVec<[c_uchar; 256]> = smallvec![0; name.len() + 192];
    let mut message_size = message.len();
    // SAFETY: the buffers have the lengths given; ngx_lua copies the value.
    let result = unsafe {
        (Symbols::get().ngx_http_lua_ffi_var_set)(
            request.as_ptr(),
            name.as_ptr(),
            name.len(),
            lowercase.as_mut_ptr(),
            value.as_ptr(),
            value.len(),
            message.as_mut_ptr(),
            &mut message_size,
        )
    };
    if result == NGX_OK {
        return Ok(());
    }
    message.truncate(message_size);
    let after_name = message.get(BEFORE_NAME.len() + name.len()..).unwrap_or_default();
    Err(Refused { is_unknown: after_name.starts_with(UNKNOWN), reason: String::from_utf8_lossy(&message).into_owned() })
}

/// The bytes of a C string with a length; none when the pointer is null.
///
/// # Safety
/// The pointer is null or has `size` bytes that live as long as the request.
pub(super) unsafe fn slice<'a>(data: *const c_uchar, size: usize) -> &'a [u8] {
    if data.is_null() || size == 0 {
        return &[];
    }
    // SAFETY: the caller's contract.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// ngx_lua's error message.
///
/// # Safety
/// The pointer is null or a C string that is never freed.
pub(super) unsafe fn error_text(code: c_int, error: *const std::ffi::c_char) -> String {
    use super::symbols::FFI_BAD_CONTEXT;

    if code == FFI_BAD_CONTEXT {
        return "API disabled in the current context".to_owned();
    }
    if error.is_null() {
        return format!("error {code}");
    }
    // SAFETY: the caller's contract.
    unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
}
