//! What nginx offers to Lua alone.

use std::{cell::Cell, ffi::c_int, ptr::null_mut};

use mlua::ffi::{
    self, LUA_REGISTRYINDEX, LUA_TSTRING, lua_State, lua_checkstack, lua_pcall, lua_pushboolean, lua_pushlstring,
    lua_rawget, lua_settop, lua_tolstring, lua_type,
};

use super::{one_thread::OneThread, request::Request};

/// Functions are in Lua's registry, their names after this.
const PREFIX: &str = "resty.wasm.";

static CALLER: OneThread<Cell<*mut lua_State>> = OneThread::new(Cell::new(null_mut()));

/// Puts a function where [`call`] finds it.
///
/// # Errors
/// When Lua has no memory.
pub fn set_lua_function(lua: &mlua::Lua, name: &str, function: mlua::Function) -> mlua::Result<()> {
    lua.set_named_registry_value(&[PREFIX, name].concat(), function)
}

/// Runs `call` with the coroutine that Lua called from, on which `ngx.*` functions can be called meanwhile.
///
/// # Safety
/// `state` lives and is the running coroutine until `call` returns, or is null: then there is none.
pub unsafe fn with_caller<R>(state: *mut lua_State, call: impl FnOnce() -> R) -> R {
    struct Restore(*mut lua_State);
    impl Drop for Restore {
        fn drop(&mut self) {
            CALLER.set(self.0);
        }
    }
    let _restore = Restore(CALLER.replace(state));
    call()
}

/// Runs `call` without a coroutine: in a finalizer, which may come in the middle of anything.
pub fn without_caller<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: there is no coroutine to keep to.
    unsafe { with_caller(null_mut(), call) }
}

/// Whether Lua code called.
pub fn has_caller() -> bool {
    !CALLER.get().is_null()
}

/// The request of the Lua code that called.
pub fn caller() -> Option<Request> {
    let state = CALLER.get();
    // SAFETY: with_caller's contract.
    if state.is_null() { None } else { unsafe { Request::current(state) } }
}

/// `ngx.req.set_uri(uri, false, true)`, and `ngx.req.set_uri_args(query)` if there is a query to set.
///
/// # Errors
/// Lua's message, or that no Lua code of this request is running.
pub fn set_uri(request: Request, uri: &[u8], query: Option<&[u8]>) -> Result<(), String> {
    if !calls_for(request) {
        return Err("it can't be changed when no Lua code of the request runs".to_owned());
    }
    call("set_uri", &[Argument::Bytes(uri), Argument::Boolean(false), Argument::Boolean(true)])?;
    if let Some(query) = query {
        call("set_uri_args", &[Argument::Bytes(query)])?;
    }
    Ok(())
}

/// What lib/resty/wasm/apisix.lua knows of the request, empty when APISIX has no such thing; `None` where there is no APISIX,
/// or when no Lua code of the request runs.
pub fn apisix_attribute(request: Request, name: &str) -> Option<Vec<u8>> {
    if !calls_for(request) {
        return None;
    }
    call("apisix_attribute", &[Argument::Bytes(name.as_bytes())]).ok().flatten()
}

/// Whether the Lua code that called handles this request.
fn calls_for(request: Request) -> bool {
    caller().map(Request::key) == Some(request.key())
}

/// What a Lua function can be given.
#[derive(Clone, Copy)]
pub enum Argument<'a> {
    Bytes(&'a [u8]),
    Boolean(bool),
}

/// Calls the function that [`set_lua_function`] put under `name`, on the coroutine that Lua called from. Returns its result,
/// a string, or `None` for anything else. The function may not yield.
///
/// # Errors
/// Lua's message; the function's second result when the first is nil; or that no Lua code is running, or that there is no such
/// function.
pub fn call(name: &str, arguments: &[Argument<'_>]) -> Result<Option<Vec<u8>>, String> {
    const FIRST: c_int = -2;
    const SECOND: c_int = -1;
    let state = CALLER.get();
    if state.is_null() {
        return Err("no Lua code is running".to_owned());
    }
    // SAFETY: with_caller's contract. The slots that are used are checked for and given back; the pcall catches errors, and the
    // pushes can only fail for want of memory, where ngx_lua ends the process.
    unsafe {
        if lua_checkstack(state, arguments.len() as c_int + 2) == 0 {
            return Err("Lua's stack is full".to_owned());
        }
        let top = ffi::lua_gettop(state);
        lua_pushlstring(state, PREFIX.as_ptr().cast(), PREFIX.len());
        lua_pushlstring(state, name.as_ptr().cast(), name.len());
        ffi::lua_concat(state, 2);
        lua_rawget(state, LUA_REGISTRYINDEX);
        for argument in arguments {
            match *argument {
                Argument::Bytes(bytes) => _ = lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len()),
                Argument::Boolean(boolean) => lua_pushboolean(state, boolean.into()),
            }
        }
        let result = match lua_pcall(state, arguments.len() as c_int, 2, 0) {
            0 => match (string(state, FIRST), string(state, SECOND)) {
                (None, Some(error)) => Err(String::from_utf8_lossy(error).into_owned()),
                (result, _) => Ok(result.map(<[u8]>::to_vec)),
            },
            _ => Err(string(state, SECOND)
                .map_or("an error without a text".into(), String::from_utf8_lossy)
                .into_owned()),
        };
        lua_settop(state, top);
        result
    }
}

/// The string at `index`; `None` for anything else.
///
/// # Safety
/// There is a value at `index`. The bytes are valid while it is there.
pub unsafe fn string<'a>(state: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    // SAFETY: the caller's contract; the value is a string, so that lua_tolstring converts nothing.
    unsafe {
        if lua_type(state, index) != LUA_TSTRING {
            return None;
        }
        let mut size = 0;
        let data = lua_tolstring(state, index, &mut size);
        Some(super::variables::slice(data.cast(), size))
    }
}
