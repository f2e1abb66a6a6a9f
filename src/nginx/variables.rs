//! nginx variables.

use std::ffi::{CStr, c_int, c_uchar};

use smallvec::{SmallVec, smallvec};

use super::{
    request::Request,
    symbols::{NGX_OK, Symbols},
};

/// Where ngx_lua puts a name in lower case: as long as the name.
type Lowercase = SmallVec<[c_uchar; 64]>;

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
