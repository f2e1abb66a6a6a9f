//! What nginx offers to Lua alone.

use std::{cell::Cell, ffi::c_int, ptr::null_mut};

use mlua::ffi::{
    LUA_REGISTRYINDEX, LUA_TSTRING, lua_State, lua_call, lua_concat, lua_cpcall, lua_gettop, lua_pushboolean,
    lua_pushlstring, lua_rawget, lua_settop, lua_tolstring, lua_touserdata, lua_type,
};

use super::{one_thread::OneThread, request::Request, variables::forget_readings};

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

/// How long a string may be that goes to Lua, or comes from it, in bytes: Lua keeps a copy of its own.
const LONGEST_STRING: usize = 64 << 20;

/// A call of a Lua function, and what becomes of it.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [Argument<'a>],
    result: Result<Option<Vec<u8>>, String>,
}

/// Calls the function that [`set_lua_function`] put under `name`, on the coroutine that Lua called from. Returns its result,
/// a string, or `None` for anything else. The function may not yield.
///
/// # Errors
/// Lua's message, also where it has no memory; the function's second result when the first is nil; that a string is longer than
/// [`LONGEST_STRING`]; or that no Lua code is running, or that there is no such function.
pub fn call(name: &str, arguments: &[Argument<'_>]) -> Result<Option<Vec<u8>>, String> {
    let state = CALLER.get();
    if state.is_null() {
        return Err("no Lua code is running".to_owned());
    }
    for argument in arguments {
        if let Argument::Bytes(bytes) = argument {
            check_length("an argument", bytes)?;
        }
    }
    // Lua may change anything, and have this library read before it does.
    forget_readings();
    let mut call = Call { name, arguments, result: Ok(None) };
    // SAFETY: with_caller's contract. lua_cpcall catches what run_call raises, and leaves a message when it returns an error; the
    // call lives until it returns.
    unsafe {
        let top = lua_gettop(state);
        if lua_cpcall(state, run_call, (&raw mut call).cast()) != 0 {
            let message = string(state, -1).map_or("an error without a text".into(), String::from_utf8_lossy);
            call.result = Err(message.into_owned());
        }
        lua_settop(state, top);
    }
    forget_readings();
    call.result
}

/// # Errors
/// When the string, which is `which` one, is too long for Lua.
fn check_length(which: &str, bytes: &[u8]) -> Result<(), String> {
    match bytes.len() {
        size if size > LONGEST_STRING => Err(format!("{which} may have {LONGEST_STRING} bytes, this one has {size}")),
        _ => Ok(()),
    }
}

/// Runs a [`Call`], to which its one argument points. Everything here that can raise an error does so in lua_cpcall, and no value
/// that has to be dropped is alive then: the error passes over this function.
unsafe extern "C-unwind" fn run_call(state: *mut lua_State) -> c_int {
    const FIRST: c_int = -2;
    const SECOND: c_int = -1;
    // SAFETY: lua_cpcall's argument is the call, which nobody else uses meanwhile. Lua guarantees more stack slots than are used.
    unsafe {
        let call = &mut *lua_touserdata(state, 1).cast::<Call<'_>>();
        lua_pushlstring(state, PREFIX.as_ptr().cast(), PREFIX.len());
        lua_pushlstring(state, call.name.as_ptr().cast(), call.name.len());
        lua_concat(state, 2);
        lua_rawget(state, LUA_REGISTRYINDEX);
        for argument in call.arguments {
            match *argument {
                Argument::Bytes(bytes) => _ = lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len()),
                Argument::Boolean(boolean) => lua_pushboolean(state, boolean.into()),
            }
        }
        lua_call(state, call.arguments.len() as c_int, 2);
        call.result = match (string(state, FIRST), string(state, SECOND)) {
            (None, Some(error)) => Err(String::from_utf8_lossy(error).into_owned()),
            (None, None) => Ok(None),
            (Some(result), _) => check_length("a result", result).map(|()| Some(result.to_vec())),
        };
    }
    0
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
