//! The one function that runs for every request and every chunk: a plain C function, without mlua's conversions.

#![expect(unsafe_code, reason = "LuaJIT calls it with its state")]

use std::{
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
};

use mlua::{
    Function, Lua,
    ffi::{
        LUA_TSTRING, lua_State, lua_pushboolean, lua_pushinteger, lua_toboolean, lua_tolstring, lua_tonumber, lua_type,
    },
};
use proxy_wasm_runtime::{CallError, Host, abi::LogLevel, vm::Event};

use super::{BODY, REPLY, log_refusal};
use crate::{
    nginx::{Nginx, Request, with_caller},
    reply,
    worker::{self, Outcome},
};

/// What `on_event` returns besides the status of a reply, which is ≥ 200.
pub mod result {
    pub const CONTINUE: i64 = 0;
    /// `take_body` has what goes into the place of the body.
    pub const BODY: i64 = 1;
    /// As `BODY`, and it may not be the other one: it is that of a local reply.
    pub const REPLY_BODY: i64 = 2;
    /// The connection is to be closed.
    pub const CLOSE: i64 = 3;
    /// The request is to wait for callouts, then `resume` tells.
    pub const WAIT: i64 = 4;
    /// The response is to be given up; `take_body` has the reason.
    pub const CUT_OFF: i64 = 5;
    pub const FAILED: i64 = -1;
    pub const NO_REQUEST: i64 = -2;
}

/// `on_event(index, event, body, end_of_stream)` → a number of [`result`], or the status of a reply; and `true` when something
/// waits for Lua.
///
/// `index` is that of a plugin context, `event` 0 to 3 in the order of [`Event`], `body` a string or nil; the
/// headers' events do without the last two.
pub fn function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: the function keeps to lua_CFunction's contract.
    unsafe { lua.create_c_function(on_event) }
}

/// Returns one or two values. Uses the stack slots that Lua guarantees; does not raise errors, does not yield.
unsafe extern "C-unwind" fn on_event(state: *mut lua_State) -> c_int {
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Lua calls with its running coroutine; the body is an argument and stays on the stack during the call.
        unsafe { with_caller(state, || run(state)) }
    }));
    // SAFETY: as above.
    unsafe { lua_pushinteger(state, result.unwrap_or_else(|_| report_panic()) as _) };
    if !worker::is_pending() {
        return 1;
    }
    // SAFETY: as above.
    unsafe { lua_pushboolean(state, 1) };
    2
}

/// # Safety
/// `state` is a running coroutine of ngx_lua whose stack holds the four arguments until this returns.
unsafe fn run(state: *mut lua_State) -> i64 {
    // SAFETY: the caller's contract.
    let Some(request) = (unsafe { Request::current(state) }) else { return result::NO_REQUEST };
    // SAFETY: the caller's contract.
    let (index, event) = unsafe { (lua_tonumber(state, 1) as usize, lua_tonumber(state, 2) as u8) };
    // SAFETY: as above.
    let end_of_stream = || unsafe { lua_toboolean(state, 4) != 0 };
    let event = match event {
        0 => Event::RequestHeaders,
        1 => Event::RequestBody { end_of_stream: end_of_stream() },
        2 => Event::ResponseHeaders,
        _ => Event::ResponseBody { end_of_stream: end_of_stream() },
    };
    let body = match event {
        Event::RequestHeaders | Event::ResponseHeaders => None,
        // SAFETY: as above.
        Event::RequestBody { .. } | Event::ResponseBody { .. } => unsafe { body(state, 3) },
    };
    // SAFETY: the body is a Lua string on the stack, and no copy of the request with the body outlives the call.
    let request = unsafe { request.with_body(body.as_ref()) };
    result_of(request, worker::on_event(index, request, event))
}

/// The number of [`result`] for an outcome, whose body or reply is left for Lua to take.
pub fn result_of(request: Request, outcome: Result<Outcome, CallError>) -> i64 {
    match outcome {
        Ok(Outcome::Continue) => result::CONTINUE,
        Ok(Outcome::Body(body)) => {
            BODY.set(body);
            result::BODY
        }
        Ok(Outcome::ReplyBody(body)) => {
            BODY.set(body);
            result::REPLY_BODY
        }
        Ok(Outcome::CutOff(reason)) => {
            BODY.set(reason.into_bytes());
            result::CUT_OFF
        }
        Ok(Outcome::Reply(reply)) => {
            let reply = reply::for_client(request, reply);
            let status = reply.status.into();
            REPLY.set(Some((request.without_body(), reply)));
            status
        }
        Ok(Outcome::Close) => result::CLOSE,
        Ok(Outcome::Wait) => result::WAIT,
        Err(error) => {
            log_refusal(&error);
            result::FAILED
        }
    }
}

/// The string at `index`; `None` for nil.
///
/// # Safety
/// There is a value at `index`. The bytes are valid while it is there.
unsafe fn body(state: *mut lua_State, index: c_int) -> Option<NonNull<[u8]>> {
    // SAFETY: the caller's contract; the value is a string, so that lua_tolstring converts nothing.
    unsafe {
        if lua_type(state, index) != LUA_TSTRING {
            return None;
        }
        let mut size = 0;
        let data = NonNull::new(lua_tolstring(state, index, &mut size).cast_mut().cast())?;
        Some(NonNull::slice_from_raw_parts(data, size))
    }
}

fn report_panic() -> i64 {
    Nginx.log(None, LogLevel::Error, b"resty-wasm panicked: this is a defect of the library, please report it");
    result::FAILED
}
