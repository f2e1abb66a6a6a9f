//! nginx's structures, as far as a module has to have them: the same in nginx 1.15.0 to 1.31.4, whatever it was built with. `ngx_uint_t` is
//! `usize`, `ngx_int_t` is `isize`.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr::null_mut,
};

/// `ngx_str_t`
#[repr(C)]
pub struct Str {
    pub len: usize,
    pub data: *const u8,
}

/// `ngx_array_t`. The fields after these are never looked at.
#[repr(C)]
pub struct Array {
    pub elements: *mut c_void,
    pub len: usize,
}

/// `ngx_conf_t`. The fields after these are never looked at.
#[repr(C)]
pub struct Conf {
    pub name: *mut c_char,
    pub args: *mut Array,
}

/// `ngx_command_t`
#[repr(C)]
pub struct Command {
    pub name: Str,
    pub kind: usize,
    pub set: Option<unsafe extern "C" fn(*mut Conf, *mut Command, *mut c_void) -> *mut c_char>,
    pub conf: usize,
    pub offset: usize,
    pub post: *mut c_void,
}

/// `ngx_http_module_t`. What the functions are that this module has none of does not matter.
#[repr(C)]
pub struct HttpModule {
    pub preconfiguration: Option<unsafe extern "C" fn(*mut Conf) -> isize>,
    pub others: [*mut c_void; 7],
}

/// `ngx_module_t`
#[repr(C)]
pub struct Module {
    pub ctx_index: usize,
    pub index: usize,
    pub name: *const c_char,
    pub spares: [usize; 2],
    pub version: usize,
    pub signature: *const c_char,
    pub ctx: *mut HttpModule,
    pub commands: *mut Command,
    pub kind: usize,
    pub hooks: [*mut c_void; 7],
    pub spare_hooks: [usize; 8],
}

/// `NGX_MODULE_UNSET_INDEX`
pub const UNSET_INDEX: usize = usize::MAX;
/// `NGX_HTTP_MODULE`
pub const HTTP_MODULE: usize = 0x5054_5448;
/// `NGX_HTTP_MAIN_CONF`: in `http {}` alone
pub const HTTP_MAIN_CONF: usize = 0x0200_0000;
/// `NGX_CONF_TAKE1`: one argument
pub const CONF_TAKE1: usize = 0x0000_0002;
/// `NGX_LOG_EMERG`
pub const LOG_EMERG: usize = 1;
/// `NGX_OK`
pub const OK: isize = 0;
/// `NGX_CONF_OK`
pub const CONF_OK: *mut c_char = null_mut();
/// `NGX_CONF_ERROR`
pub const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;

// Declared as the same releases declare them. nginx exports all that is not static.
unsafe extern "C" {
    /// The first module of the running nginx.
    pub static ngx_core_module: Module;

    /// Logs a message with the file and the line that is read.
    pub fn ngx_conf_log_error(level: usize, conf: *mut Conf, errno: c_int, format: *const c_char, ...);
}
