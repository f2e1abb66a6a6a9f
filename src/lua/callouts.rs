//! What lib/resty/wasm/callouts.lua calls.

use std::time::Duration;

use mlua::{Error, Lua, LuaString, MultiValue, Result, Table};

use super::{
    configuration_of_caller,
    on_event::{result, result_of},
    with_lua,
};
use crate::{
    callout::{self, InFlight, Next, Server, Stage, Target},
    nginx::{Semaphore, caller, escape_control},
    worker,
};

/// What `step` and `fail` return.
mod next {
    pub const RECEIVE: u8 = 0;
    pub const KEEP: u8 = 1;
    pub const CLOSE: u8 = 2;
    pub const RETRY: u8 = 3;
}

/// Puts the functions into the module.
pub fn register(lua: &Lua, module: &Table) -> Result<()> {
    module.set("configuration", lua.create_function(configuration)?)?;
    module.set("next_callout", lua.create_function(next_callout)?)?;
    module.set("bare_name", lua.create_function(bare_name)?)?;
    module.set("set_server", lua.create_function(set_server)?)?;
    module.set("open_callout", lua.create_function(open_callout)?)?;
    module.set("begin_callout", lua.create_function(begin_callout)?)?;
    module.set("step_callout", lua.create_function(step_callout)?)?;
    module.set("receive_callout", lua.create_function(receive_callout)?)?;
    module.set("fail_callout", lua.create_function(fail_callout)?)?;
    module.set("close_callout", lua.create_function(close_callout)?)?;
    module.set("deliver", lua.create_function(deliver)?)?;
    module.set("next_cancelled", lua.create_function(next_cancelled)?)?;
    module.set("wants_watch", lua.create_function(wants_watch)?)?;
    module.set("watch_refused", lua.create_function(watch_refused)?)?;
    module.set("watch", lua.create_function(watch)?)?;
    module.set("has_requests", lua.create_function(has_requests)?)?;
    module.set("end_streams", lua.create_function(end_streams)?)?;
    module.set("wait", lua.create_function(wait)?)?;
    module.set("resume", lua.create_function(resume)?)
}

/// `configuration()` → what tells the configuration of the running Lua code's location from others.
fn configuration(lua: &Lua, (): ()) -> Result<usize> {
    Ok(configuration_of_caller(lua))
}

/// `next_callout()` → token, uri, method, timeout in ms; or nothing.
fn next_callout(lua: &Lua, (): ()) -> Result<MultiValue> {
    let Some((token, callout)) = callout::next_new() else { return Ok(MultiValue::new()) };
    let timeout = callout.timeout.map_or(0, |timeout| timeout.as_millis() as u64);
    // For the log.
    let uri = lua.create_string(escape_control(callout.uri.as_bytes()))?;
    values(lua, (token, uri, callout.method.as_str(), timeout))
}

/// `bare_name(token)` → the upstream's name, when that may be something else than a host's.
fn bare_name(_: &Lua, token: u32) -> Result<Option<String>> {
    Ok(callout::find(token).and_then(|callout| callout.bare_name()))
}

/// `set_server(token, host, port, authority, is_encrypted, is_http2)`: sends it there.
fn set_server(
    _: &Lua,
    (token, host, port, authority, is_encrypted, is_http2): (u32, String, u16, String, bool, bool),
) -> Result<()> {
    if let Some(callout) = callout::find(token) {
        let target = Target { host, port: Some(port) };
        callout.set_server(Server { target, authority, is_encrypted, is_http2 });
    }
    Ok(())
}

/// `open_callout(token, runner, semaphore)` → host, port, pool, server name, whether it is HTTP/2, whether it is a stream,
/// remaining ms; or nothing when it was cancelled. The semaphore has the runner look again; here and below it is an `ngx.semaphore`
/// and its address.
fn open_callout(lua: &Lua, (token, runner, wake, address): (u32, u32, Table, usize)) -> Result<MultiValue> {
    let Some(callout) = callout::find(token) else { return Ok(MultiValue::new()) };
    let opening = callout.open(runner, semaphore(lua, wake, address)?, configuration_of_caller(lua));
    let remaining = opening.remaining.map(milliseconds);
    let callout::Opening { host, port, pool, server_name, is_http2, .. } = opening;
    values(lua, (host, port, pool, server_name, is_http2, callout.is_stream(), remaining))
}

/// `begin_callout(token, is_reused, lacks_alpn, semaphore)`: the connection stands. From now on a stream has a semaphore of its
/// own.
fn begin_callout(
    lua: &Lua,
    (token, is_reused, lacks_alpn, wake, address): (u32, bool, bool, Option<Table>, Option<usize>),
) -> Result<()> {
    if let Some(callout) = callout::find(token) {
        callout.begin(is_reused, lacks_alpn, optional_semaphore(lua, wake, address)?);
    }
    Ok(())
}

/// `step_callout(token, received, error)` → what is next, what is to be sent, remaining ms. Without `received` and `error`
/// nothing has come.
fn step_callout(
    lua: &Lua,
    (token, received, error): (u32, Option<LuaString>, Option<LuaString>),
) -> Result<(u8, Option<LuaString>, Option<u64>)> {
    let Some(callout) = callout::find(token) else { return Ok((next::CLOSE, None, None)) };
    let (next, output, remaining) = take_in(&callout, received, error);
    let output = if output.is_empty() { None } else { Some(lua.create_string(&output)?) };
    Ok((number(next), output, remaining.map(milliseconds)))
}

/// As `step_callout`, but what is to be sent is left for the next `step_callout`: another thread sends it.
fn receive_callout(_: &Lua, (token, received, error): (u32, Option<LuaString>, Option<LuaString>)) -> Result<u8> {
    let Some(callout) = callout::find(token) else { return Ok(next::CLOSE) };
    let (next, output, _) = take_in(&callout, received, error);
    callout.leave_output(output);
    Ok(number(next))
}

fn take_in(
    callout: &InFlight,
    received: Option<LuaString>,
    error: Option<LuaString>,
) -> (Next, Vec<u8>, Option<Duration>) {
    match (received, error) {
        (Some(received), _) => callout.step(Some(&received.as_bytes())),
        (None, None) => callout.step(None),
        (None, Some(error)) if error.as_bytes() == b"closed" => callout.end(),
        (None, Some(error)) => (callout.fail(Stage::Transfer, &error.to_string_lossy()), Vec::new(), None),
    }
}

/// `fail_callout(token, stage, error)` → what is next. The stages are `start`, `connect`, `handshake` and `transfer`.
fn fail_callout(_: &Lua, (token, stage, error): (u32, LuaString, LuaString)) -> Result<u8> {
    let stage = match &*stage.as_bytes() {
        b"start" => Stage::Start,
        b"connect" => Stage::Connect,
        b"handshake" => Stage::Handshake,
        _ => Stage::Transfer,
    };
    let error = error.to_string_lossy();
    Ok(number(callout::find(token).map_or(Next::Close, |callout| callout.fail(stage, &error))))
}

/// `close_callout(token, is_kept)`: its bytes are not moved any more; its connection is in its pool or not.
fn close_callout(lua: &Lua, (token, is_kept): (u32, bool)) -> Result<()> {
    if let Some(callout) = callout::find(token) {
        callout.close(is_kept);
    }
    Semaphore::collect(lua);
    Ok(())
}

/// `deliver(token)`: tells the plugin what has come.
fn deliver(lua: &Lua, token: u32) -> Result<()> {
    with_lua(lua, || worker::deliver(token));
    Ok(())
}

/// `next_cancelled(runner)` → a callout that the runner is to stop.
fn next_cancelled(_: &Lua, runner: u32) -> Result<Option<u32>> {
    Ok(callout::next_cancelled(runner))
}

/// `wants_watch()` → whether `watch` is to be called.
fn wants_watch(_: &Lua, (): ()) -> Result<bool> {
    Ok(worker::wants_watch())
}

/// `watch_refused()`: it can't be called, for there is no timer.
fn watch_refused(_: &Lua, (): ()) -> Result<()> {
    worker::watch_refused();
    Ok(())
}

/// `watch(semaphore)`: it is posted when something comes up while no Lua code runs; without it not any more.
fn watch(lua: &Lua, (wake, address): (Option<Table>, Option<usize>)) -> Result<()> {
    worker::watch(optional_semaphore(lua, wake, address)?);
    Ok(())
}

/// `has_requests()` → whether there are requests with stream contexts; the semaphore of `watch` is posted when a worker that is
/// to end has no more of them.
fn has_requests(_: &Lua, (): ()) -> Result<bool> {
    Ok(worker::has_requests())
}

/// `end_streams()`: ends the gRPC streams that no request needs, for the worker ends.
fn end_streams(_: &Lua, (): ()) -> Result<()> {
    callout::end_streams();
    Ok(())
}

/// `wait(index, semaphore)`: it is posted when the current request need not wait any more, or callouts have something to tell.
fn wait(lua: &Lua, (index, wake, address): (usize, Table, usize)) -> Result<bool> {
    let semaphore = semaphore(lua, wake, address)?;
    Ok(with_lua(lua, || caller().is_some_and(|request| worker::wait(index, request, semaphore))))
}

/// `resume(index, is_over)` → as `on_event`, for the current request.
fn resume(lua: &Lua, (index, is_over): (usize, bool)) -> Result<(i64, bool)> {
    let resumed = with_lua(lua, || {
        let Some(request) = caller() else { return result::NO_REQUEST };
        result_of(request, worker::resume(index, request, is_over))
    });
    if resumed != result::WAIT {
        Semaphore::collect(lua);
    }
    Ok((resumed, worker::is_pending()))
}

#[expect(unsafe_code, reason = "Lua gives an address")]
fn semaphore(lua: &Lua, object: Table, address: usize) -> Result<Semaphore> {
    // SAFETY: callouts.lua gives the address that the object itself has.
    unsafe { Semaphore::anchor(lua, object, address) }?.ok_or_else(|| Error::runtime("a semaphore is needed"))
}

fn optional_semaphore(lua: &Lua, object: Option<Table>, address: Option<usize>) -> Result<Option<Semaphore>> {
    object.zip(address).map(|(object, address)| semaphore(lua, object, address)).transpose()
}

fn values(lua: &Lua, values: impl mlua::IntoLuaMulti) -> Result<MultiValue> {
    values.into_lua_multi(lua)
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn number(next: Next) -> u8 {
    match next {
        Next::Receive => next::RECEIVE,
        Next::Keep => next::KEEP,
        Next::Close => next::CLOSE,
        Next::Retry => next::RETRY,
    }
}
