//! The only place that looks up symbols.

use std::{
    ffi::{CString, c_char, c_int, c_long, c_uchar, c_void},
    fmt::{self, Display, Formatter},
    ops::Deref,
    ptr::null_mut,
    sync::atomic::{AtomicI32, AtomicPtr},
};

use mlua::ffi::lua_State;
use once_cell::sync::OnceCell;

/// `ngx_http_request_t`, never looked into except by `header_lists` and [`Request::configuration`](super::Request).
#[repr(C)]
pub struct NgxRequest {
    _opaque: [u8; 0],
}

/// `ngx_http_lua_ffi_str_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FfiStr {
    pub len: c_int,
    pub data: *const c_uchar,
}

/// `ngx_http_lua_ffi_table_elt_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FfiTableElement {
    pub key: FfiStr,
    pub value: FfiStr,
}

/// `ngx_str_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NgxStr {
    pub len: usize,
    pub data: *const c_uchar,
}

/// `ngx_http_cleanup_t`
#[repr(C)]
pub struct NgxCleanup {
    pub handler: Option<unsafe extern "C" fn(*mut c_void)>,
    pub data: *mut c_void,
    pub next: *mut NgxCleanup,
}

/// The beginning of `ngx_module_t`.
#[repr(C)]
pub struct NgxModule {
    pub ctx_index: usize,
    pub index: usize,
}

/// `ngx_shm_zone_t`, never looked into.
#[repr(C)]
pub struct NgxZone {
    _opaque: [u8; 0],
}

/// `ngx_http_lua_sema_t`, never looked into.
#[repr(C)]
pub struct NgxSemaphore {
    _opaque: [u8; 0],
}

/// `NGX_OK`
pub const NGX_OK: c_int = 0;
/// `NGX_DECLINED`
pub const NGX_DECLINED: c_int = -5;
/// `NGX_HTTP_LUA_FFI_BAD_CONTEXT`
pub const FFI_BAD_CONTEXT: c_int = -101;

/// How many missing symbols a message names.
const MOST_NAMED: usize = 8;

/// Symbols that the running nginx does not have: for each, the names under which it was looked for, and what has it.
#[derive(Debug)]
pub struct MissingSymbols(Vec<(&'static [&'static str], &'static str)>);

impl Display for MissingSymbols {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("lacks ")?;
        for (at, (names, owner)) in self.0.iter().take(MOST_NAMED).enumerate() {
            let names = names.join(" or ");
            write!(f, "{}{names} ({owner})", if at == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

macro_rules! symbols {
    ($(#[$about:meta])* $group:ident { $($owner:literal { $($name:ident $(or $other:ident)*: $type:ty;)* })* }) => {
        $(#[$about])*
        pub struct $group {
            $($(pub $name: $type,)*)*
        }

        // SAFETY: the data pointers are used by nginx's one thread only.
        unsafe impl Send for $group {}
        // SAFETY: as above.
        unsafe impl Sync for $group {}

        impl $group {
            fn resolve() -> Result<Self, MissingSymbols> {
                let mut missing = Vec::new();
                $($(let $name = find(&[stringify!($name) $(, stringify!($other))*]).unwrap_or_else(|names| {
                    missing.push((names, $owner));
                    null_mut()
                });)*)*
                if !missing.is_empty() {
                    return Err(MissingSymbols(missing));
                }
                Ok(Self {
                    // SAFETY: a function or data pointer of the type that the named release declares, and has kept.
                    $($($name: unsafe { std::mem::transmute_copy::<*mut c_void, $type>(&$name) },)*)*
                })
            }
        }
    };
}

/// The address of the first of these names that there is.
///
/// # Errors
/// The names, when there is none.
fn find(names: &'static [&'static str]) -> Result<*mut c_void, &'static [&'static str]> {
    let address = |name: &&str| {
        let name = CString::new(*name).ok()?;
        // SAFETY: a lookup by a NUL-terminated name; nginx opens its modules RTLD_GLOBAL.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    };
    names.iter().find_map(address).ok_or(names)
}

type R = *mut NgxRequest;
type Error = *mut *const c_char;
type Bytes = *const c_uchar;
type Zone = *mut NgxZone;

symbols! {
    /// What the library needs of nginx and ngx_lua.
    Needed {
        "nginx" {
            ngx_http_cleanup_add: unsafe extern "C" fn(R, usize) -> *mut NgxCleanup;
            ngx_list_push: unsafe extern "C" fn(*mut c_void) -> *mut c_void;
            ngx_exiting: *const AtomicI32;
            ngx_quit: *const AtomicI32;
            ngx_terminate: *const AtomicI32;
            ngx_cycle: *const AtomicPtr<AtomicPtr<c_void>>;
        }
        "ngx_lua 0.10.19 and newer" {
            ngx_http_lua_get_request: unsafe extern "C" fn(*mut lua_State) -> R;
            ngx_http_lua_ffi_get_phase: unsafe extern "C" fn(R, Error) -> c_int;
            ngx_http_lua_ffi_headers_sent: unsafe extern "C" fn(R) -> c_int;
            ngx_http_lua_ffi_is_subrequest: unsafe extern "C" fn(R) -> c_int;
            ngx_http_lua_ffi_get_process_type: unsafe extern "C" fn() -> c_int;
            ngx_http_lua_ffi_worker_id: unsafe extern "C" fn() -> c_int;
            ngx_http_lua_ffi_raw_log: unsafe extern "C" fn(R, c_int, Bytes, usize) -> c_int;
            ngx_http_lua_ffi_errlog_get_sys_filter_level: unsafe extern "C" fn(R) -> c_int;

            ngx_http_lua_ffi_req_start_time: unsafe extern "C" fn(R) -> f64;
            ngx_http_lua_ffi_req_get_headers_count: unsafe extern "C" fn(R, c_int, *mut c_int) -> c_int;
            ngx_http_lua_ffi_req_get_headers: unsafe extern "C" fn(R, *mut FfiTableElement, c_int, c_int) -> c_int;
            ngx_http_lua_ffi_req_set_header:
                unsafe extern "C" fn(R, Bytes, usize, Bytes, usize, *const FfiStr, usize, c_int, Error) -> c_int;
            ngx_http_lua_ffi_req_get_method: unsafe extern "C" fn(R) -> c_int;
            ngx_http_lua_ffi_req_get_method_name: unsafe extern "C" fn(R, *mut Bytes, *mut usize) -> c_int;
            ngx_http_lua_ffi_req_set_method: unsafe extern "C" fn(R, c_int) -> c_int;

            ngx_http_lua_ffi_get_resp_header:
                unsafe extern "C" fn(R, Bytes, usize, *mut c_uchar, *mut FfiStr, c_int, Error) -> c_int;
            ngx_http_lua_ffi_set_resp_header:
                unsafe extern "C" fn(R, Bytes, usize, c_int, Bytes, usize, *const FfiStr, usize, c_int, Error) -> c_int;
            ngx_http_lua_ffi_get_resp_status: unsafe extern "C" fn(R) -> c_int;
            ngx_http_lua_ffi_set_resp_status: unsafe extern "C" fn(R, c_int) -> c_int;

            ngx_http_lua_ffi_var_get:
                unsafe extern "C" fn(R, Bytes, usize, *mut c_uchar, c_int, *mut Bytes, *mut usize, Error) -> c_int;
            ngx_http_lua_ffi_var_set:
                unsafe extern "C" fn(R, Bytes, usize, *mut c_uchar, Bytes, usize, *mut c_uchar, *mut usize) -> c_int;

            ngx_http_lua_ffi_sema_post: unsafe extern "C" fn(*mut NgxSemaphore, c_int) -> c_int;
        }
    }
}

symbols! {
    /// The functions of `ngx.shared.DICT`. APISIX-Runtime has moved them to a module of its own.
    DictFunctions {
        "ngx_lua 0.10.19 and newer, or apisix-nginx-module" {
            ngx_http_lua_ffi_shdict_udata_to_zone or ngx_meta_lua_ffi_shdict_udata_to_zone: unsafe extern "C" fn(*mut c_void) -> Zone;
            ngx_http_lua_ffi_shdict_get or ngx_meta_lua_ffi_shdict_get: unsafe extern "C" fn(
                Zone, Bytes, usize, *mut c_int, *mut *mut c_uchar, *mut usize, *mut f64, *mut c_int, c_int, *mut c_int, Error,
            ) -> c_int;
            ngx_http_lua_ffi_shdict_store or ngx_meta_lua_ffi_shdict_store: unsafe extern "C" fn(
                Zone, c_int, Bytes, usize, c_int, Bytes, usize, f64, c_long, c_int, Error, *mut c_int,
            ) -> c_int;
            ngx_http_lua_ffi_shdict_incr or ngx_meta_lua_ffi_shdict_incr: unsafe extern "C" fn(
                Zone, Bytes, usize, *mut f64, Error, c_int, f64, c_long, *mut c_int,
            ) -> c_int;
            ngx_http_lua_ffi_shdict_capacity or ngx_meta_lua_ffi_shdict_capacity: unsafe extern "C" fn(Zone) -> usize;
            ngx_http_lua_ffi_update_time: unsafe extern "C" fn();
        }
    }
}

symbols! {
    /// The names of the methods that ngx_lua knows.
    MethodNames {
        "ngx_lua 0.10.19 and newer" {
            ngx_http_lua_get_method: *mut NgxStr;
            ngx_http_lua_head_method: *mut NgxStr;
            ngx_http_lua_post_method: *mut NgxStr;
            ngx_http_lua_put_method: *mut NgxStr;
            ngx_http_lua_delete_method: *mut NgxStr;
            ngx_http_lua_mkcol_method: *mut NgxStr;
            ngx_http_lua_copy_method: *mut NgxStr;
            ngx_http_lua_move_method: *mut NgxStr;
            ngx_http_lua_options_method: *mut NgxStr;
            ngx_http_lua_propfind_method: *mut NgxStr;
            ngx_http_lua_proppatch_method: *mut NgxStr;
            ngx_http_lua_lock_method: *mut NgxStr;
            ngx_http_lua_unlock_method: *mut NgxStr;
            ngx_http_lua_patch_method: *mut NgxStr;
            ngx_http_lua_trace_method: *mut NgxStr;
        }
    }
}

symbols! {
    /// Where `worker_connections` are.
    EventModules {
        "nginx" {
            ngx_events_module: *const NgxModule;
            ngx_event_core_module: *const NgxModule;
        }
    }
}

/// Everything that is used of nginx and ngx_lua, resolved once.
pub struct Symbols {
    needed: Needed,
    /// Without them each worker has a store of its own.
    pub dict: Result<DictFunctions, MissingSymbols>,
    /// Without them a plugin can set no method that ngx_lua does not know.
    pub methods: Result<MethodNames, MissingSymbols>,
    /// Without them a worker is taken to have as many connections as where nothing is configured.
    pub event_modules: Result<EventModules, MissingSymbols>,
}

impl Deref for Symbols {
    type Target = Needed;

    #[inline]
    fn deref(&self) -> &Needed {
        &self.needed
    }
}

static SYMBOLS: OnceCell<Symbols> = OnceCell::new();

/// Resolves all symbols, the first time.
///
/// # Errors
/// When one is missing that is needed: those are named with what has them.
pub fn load() -> Result<(), MissingSymbols> {
    let resolve = || {
        Ok(Symbols {
            needed: Needed::resolve()?,
            dict: DictFunctions::resolve(),
            methods: MethodNames::resolve(),
            event_modules: EventModules::resolve(),
        })
    };
    SYMBOLS.get_or_try_init(resolve).map(drop)
}

impl Symbols {
    /// The symbols, which [`load`] has resolved when the library was opened.
    #[inline]
    pub fn get() -> &'static Self {
        match SYMBOLS.get() {
            Some(symbols) => symbols,
            None => unreachable!("the library can't be called before it was opened"),
        }
    }
}
