//! `lua_shared_dict resty_wasm`, which all workers share.

use std::{
    cell::{Cell, RefCell},
    ffi::{c_int, c_long, c_void},
    ptr::null_mut,
    time::Duration,
};

use mlua::{Lua, Table, UserData, Value};
use once_cell::sync::Lazy;
use proxy_wasm_runtime::{
    Host,
    abi::LogLevel,
    store::{Dict, DictError, InProcess},
};

use super::{
    Nginx,
    lua_api::{self, Argument},
    one_thread::OneThread,
    symbols::{DictFunctions, NGX_DECLINED, NGX_OK, NgxZone, Symbols},
    variables::error_text,
};

/// How much one worker may keep without a shared dict, in bytes.
const IN_PROCESS_CAPACITY: usize = 10 << 20;

/// The zones of the Lua virtual machines that have opened the library, the newest last. In the master there are two while it
/// reloads; which one goes, the old one or that of a configuration that failed, is not known before.
static ZONES: OneThread<RefCell<Vec<*mut NgxZone>>> = OneThread::new(RefCell::new(Vec::new()));
static IN_PROCESS: Lazy<InProcess> = Lazy::new(|| InProcess::new(IN_PROCESS_CAPACITY));
static WARNED: OneThread<Cell<bool>> = OneThread::new(Cell::new(false));

/// Finds the dict of a Lua virtual machine, for as long as that lives.
///
/// # Errors
/// When Lua has no memory.
pub fn open_dict(lua: &Lua) -> mlua::Result<()> {
    let ngx: Table = lua.globals().get("ngx")?;
    let Some(dict) = ngx.get::<Option<Table>>("shared")?.map(|shared| shared.get::<Option<Table>>("resty_wasm")) else {
        return Ok(());
    };
    let Some(dict) = dict? else { return Ok(()) };
    let Ok(functions) = &Symbols::get().dict else { return Ok(()) };
    let userdata = dict.raw_get::<Value>(1)?.to_pointer().cast_mut();
    // SAFETY: this is what ngx_lua keeps of the dict, and passes to this function itself.
    let zone = unsafe { (functions.ngx_http_lua_ffi_shdict_udata_to_zone)(userdata) };
    if zone.is_null() {
        return Ok(());
    }
    ZONES.borrow_mut().push(zone);
    lua.set_named_registry_value("resty.wasm.dict", OpenDict(zone))
}

/// Closes with the Lua virtual machine.
struct OpenDict(*mut NgxZone);

// SAFETY: mlua asks for Send; Lua runs on nginx's one thread.
unsafe impl Send for OpenDict {}

impl UserData for OpenDict {}

impl Drop for OpenDict {
    fn drop(&mut self) {
        ZONES.borrow_mut().retain(|zone| *zone != self.0);
    }
}

/// The shared dict, or in its place one of this worker's own.
pub fn dict() -> &'static dyn Dict {
    if ZONES.borrow().is_empty() { &*IN_PROCESS } else { &SharedDict }
}

/// Says once that there is no shared dict.
pub fn warn_without_dict() {
    if ZONES.borrow().is_empty() && !WARNED.replace(true) {
        let reason = match &Symbols::get().dict {
            Ok(_) => "the http block lacks \"lua_shared_dict resty_wasm 10m;\"".to_owned(),
            Err(missing) => format!("this nginx {missing}"),
        };
        let message = format!("shared data, queues and metrics are kept for each worker alone: {reason}");
        Nginx.log(None, LogLevel::Warn, message.as_bytes());
    }
}

/// What an entry is: Lua's types.
mod kind {
    use std::ffi::c_int;

    pub const NIL: c_int = 0;
    pub const NUMBER: c_int = 3;
    pub const STRING: c_int = 4;
}

/// How to store.
mod operation {
    use std::ffi::c_int;

    pub const SET: c_int = 0;
    pub const ADD: c_int = 1;
}

struct SharedDict;

impl SharedDict {
    /// Those of ngx_lua: without them there is no zone.
    fn functions() -> &'static DictFunctions {
        match &Symbols::get().dict {
            Ok(functions) => functions,
            Err(_) => unreachable!("a dict can't be opened without them"),
        }
    }

    fn zone() -> *mut NgxZone {
        ZONES.borrow().last().copied().unwrap_or(null_mut())
    }

    /// Reads an entry: its kind and flags, and a number. Bytes go to `value`.
    fn read(key: &[u8], value: &mut Vec<u8>) -> Option<(c_int, u32, f64)> {
        DictError::check_key(key).ok()?;
        value.clear();
        let buffer = value.as_mut_ptr();
        let (mut data, mut size) = (buffer, value.capacity());
        let (mut kind, mut number, mut flags, mut stale) = (kind::NIL, 0.0, 0, 0);
        let mut error = std::ptr::null();
        // SAFETY: all pointers are valid for the call. Bytes are in the buffer, whose capacity was given, or in memory that
        // ngx_lua has got from malloc and left to its caller.
        unsafe {
            let result = (Self::functions().ngx_http_lua_ffi_shdict_get)(
                Self::zone(),
                key.as_ptr(),
                key.len(),
                &mut kind,
                &mut data,
                &mut size,
                &mut number,
                &mut flags,
                0,
                &mut stale,
                &mut error,
            );
            if result != NGX_OK {
                return None;
            }
            if kind == kind::STRING {
                if data == buffer {
                    value.set_len(size);
                } else {
                    value.extend_from_slice(std::slice::from_raw_parts(data, size));
                    libc::free(data.cast::<c_void>());
                }
            }
        }
        Some((kind, flags as u32, number))
    }

    fn store(
        operation: c_int,
        key: &[u8],
        kind: c_int,
        value: &[u8],
        number: f64,
        flags: u32,
        ttl: Option<Duration>,
    ) -> Result<bool, DictError> {
        DictError::check_key(key)?;
        // ngx_lua takes 0 for no end.
        let ttl =
            ttl.map_or(0, |ttl| c_long::try_from(ttl.as_millis()).unwrap_or(c_long::MAX).clamp(1, c_long::MAX >> 20));
        let (mut forcible, mut error) = (0, std::ptr::null());
        // SAFETY: all pointers are valid for the call; key and value are copied.
        let result = unsafe {
            if ttl != 0 {
                // Counted from nginx's cached time, which is old after a long callback.
                (Self::functions().ngx_http_lua_ffi_update_time)();
            }
            (Self::functions().ngx_http_lua_ffi_shdict_store)(
                Self::zone(),
                operation,
                key.as_ptr(),
                key.len(),
                kind,
                value.as_ptr(),
                value.len(),
                number,
                ttl,
                flags as c_int,
                &mut error,
                &mut forcible,
            )
        };
        match result {
            NGX_OK => Ok(true),
            NGX_DECLINED => Ok(false),
            _ => Err(DictError::NoRoom),
        }
    }
}

impl Dict for SharedDict {
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Option<u32> {
        let (kind, flags, _) = Self::read(key, value)?;
        (kind == kind::STRING).then_some(flags)
    }

    fn set(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<(), DictError> {
        Self::store(operation::SET, key, kind::STRING, value, 0.0, flags, ttl).map(drop)
    }

    fn add(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<bool, DictError> {
        Self::store(operation::ADD, key, kind::STRING, value, 0.0, flags, ttl)
    }

    fn number(&self, key: &[u8]) -> Option<f64> {
        let (kind, _, number) = Self::read(key, &mut Vec::new())?;
        (kind == kind::NUMBER).then_some(number)
    }

    fn set_number(&self, key: &[u8], number: f64) -> Result<(), DictError> {
        Self::store(operation::SET, key, kind::NUMBER, &[], number, 0, None).map(drop)
    }

    fn incr(&self, key: &[u8], by: f64, init: f64) -> Result<f64, DictError> {
        DictError::check_key(key)?;
        let (mut number, mut forcible, mut error) = (by, 0, std::ptr::null());
        // SAFETY: all pointers are valid for the call; the key is copied.
        let result = unsafe {
            (Self::functions().ngx_http_lua_ffi_shdict_incr)(
                Self::zone(),
                key.as_ptr(),
                key.len(),
                &mut number,
                &mut error,
                1,
                init,
                0,
                &mut forcible,
            )
        };
        match result {
            NGX_OK => Ok(number),
            // SAFETY: ngx_lua's messages are static.
            _ if unsafe { error_text(result, error) } == "not a number" => Err(DictError::NotANumber),
            _ => Err(DictError::NoRoom),
        }
    }

    fn delete(&self, key: &[u8]) {
        let _ = Self::store(operation::SET, key, kind::NIL, &[], 0.0, 0, None);
    }

    fn capacity(&self) -> usize {
        // SAFETY: the zone lives; the function only reads.
        unsafe { (Self::functions().ngx_http_lua_ffi_shdict_capacity)(Self::zone()) }
    }

    /// ngx_lua lists keys to Lua alone: nothing is known where no Lua code runs.
    fn keys(&self, prefix: &[u8]) -> Option<Vec<Vec<u8>>> {
        let listed = lua_api::call("dict_keys", &[Argument::Bytes(prefix)]).ok()??;
        let (mut rest, mut keys) = (listed.as_slice(), Vec::new());
        while !rest.is_empty() {
            let colon = rest.iter().position(|byte| *byte == b':')?;
            let length = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            let (key, others) = rest[colon + 1..].split_at_checked(length)?;
            keys.push(key.to_vec());
            rest = others;
        }
        Some(keys)
    }
}
