//! What nginx offers to Lua alone.

use std::{cell::Cell, ffi::c_int, ptr::null_mut};

use mlua::ffi::{
    self, LUA_REGISTRYINDEX, lua_State, lua_checkstack, lua_pcall, lua_pushboolean, lua_pushlightuserdata,
    lua_pushlstring, lua_rawget, lua_rawset, lua_settop, lua_tolstring,
};

use super::{one_thread::OneThread, request::Request};

/// Its address is the registry's key for `ngx.req.set_uri`.
static SET_URI_KEY: u8 = 0;

static CALLER: OneThread<Cell<*mut lua_State>> = OneThread::new(Cell::new(null_mut()));

/// Puts the functions of `ngx.*` that are called from here into Lua's registry.
///
/// # Errors
/// When this nginx does not have one of them.
pub fn remember_lua_functions(lua: &mlua::Lua) -> mlua::Result<()> {
    let request: mlua::Table = lua.globals().get::<mlua::Table>("ngx")?.get("req")?;
    let set_uri: mlua::Function = request.get("set_uri")?;
    // SAFETY: the function is on the stack with room for two more (exec_raw's contract); nothing is left on it.
    unsafe {
        lua.exec_raw::<()>(set_uri, |state| {
            lua_pushlightuserdata(state, (&raw const SET_URI_KEY).cast_mut().cast());
            ffi::lua_insert(state, -2);
            lua_rawset(state, LUA_REGISTRYINDEX);
        })
    }
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

/// `ngx.req.set_uri(uri, false, true)`
///
/// # Errors
/// Lua's message, or that no Lua code of this request is running.
pub fn set_uri(request: Request, uri: &[u8]) -> Result<(), String> {
    let state = CALLER.get();
    // SAFETY: with_caller's contract.
    let current = if state.is_null() { None } else { unsafe { Request::current(state) } };
    if current.map(Request::key) != Some(request.key()) {
        return Err("it can't be changed when no Lua code of the request runs".to_owned());
    }
    // SAFETY: with_caller's contract. Uses 4 slots, which are checked for and given back; the pcall catches errors, and the
    // pushes can only fail for want of memory, where ngx_lua ends the process.
    unsafe {
        if lua_checkstack(state, 4) == 0 {
            return Err("Lua's stack is full".to_owned());
        }
        let top = ffi::lua_gettop(state);
        lua_pushlightuserdata(state, (&raw const SET_URI_KEY).cast_mut().cast());
        lua_rawget(state, LUA_REGISTRYINDEX);
        lua_pushlstring(state, uri.as_ptr().cast(), uri.len());
        lua_pushboolean(state, 0);
        lua_pushboolean(state, 1);
        let result = match lua_pcall(state, 3, 0, 0) {
            0 => Ok(()),
            _ => Err(error_message(state)),
        };
        lua_settop(state, top);
        result
    }
}

/// The error value on top of the stack.
///
/// # Safety
/// There is one. It stays there.
unsafe fn error_message(state: *mut lua_State) -> String {
    const TOP: c_int = -1;
    let mut size = 0;
    // SAFETY: the caller's contract; a string stays valid while it is on the stack.
    let text = unsafe { super::variables::slice(lua_tolstring(state, TOP, &mut size).cast(), size) };
    String::from_utf8_lossy(text).into_owned()
}
