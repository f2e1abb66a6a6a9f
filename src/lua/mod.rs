//! The Lua module `resty.wasm.native`, which lib/resty/wasm.lua alone calls.

mod on_event;

use std::{cell::Cell, rc::Rc};

use mlua::{AnyUserData, Error, Lua, LuaString, Result, Table, UserData};
use proxy_wasm_host::{context::Plugin, hostcalls::LocalReply};

use crate::{
    nginx::{Nginx, OneThread, Request, load_symbols, remember_lua_functions},
    worker,
};

/// The body that the last callback left, until bodies.lua takes it, right after.
static BODY: OneThread<Cell<Vec<u8>>> = OneThread::new(Cell::new(Vec::new()));
/// The reply that the last callback asked for, until local_reply.lua takes it, right after.
static REPLY: OneThread<Cell<Option<PendingReply>>> = OneThread::new(Cell::new(None));

/// A reply, and the request that it answers.
type PendingReply = (Request, Box<LocalReply>);

/// A loaded plugin, held by Lua.
struct PluginHandle(Rc<Plugin<Nginx>>);

impl UserData for PluginHandle {}

/// A plugin context, held by Lua by its index.
struct ContextHandle(usize);

impl UserData for ContextHandle {}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        worker::release(self.0);
    }
}

/// The module's table.
///
/// # Errors
/// When nginx lacks what the library needs.
pub fn open(lua: &Lua) -> Result<Table> {
    load_symbols().map_err(Error::external)?;
    remember_lua_functions(lua)?;

    let module = lua.create_table()?;
    module.set("load", lua.create_function(load)?)?;
    module.set("on_configure", lua.create_function(on_configure)?)?;
    module.set("on_event", on_event::function(lua)?)?;
    module.set("take_body", lua.create_function(take_body)?)?;
    module.set("take_reply", lua.create_function(take_reply)?)?;
    Ok(module)
}

/// `load(name, bytes)` → plugin or nil; why not is in the error log.
fn load(_: &Lua, (name, bytes): (LuaString, LuaString)) -> Result<Option<PluginHandle>> {
    Ok(worker::load(&name.to_string_lossy(), &bytes.as_bytes()).map(PluginHandle))
}

/// `on_configure(plugin, configuration)` → context, index; or nil; why not is in the error log.
fn on_configure(
    _: &Lua,
    (plugin, configuration): (AnyUserData, LuaString),
) -> Result<(Option<ContextHandle>, Option<usize>, Option<u32>)> {
    let plugin = plugin.borrow::<PluginHandle>()?.0.clone();
    let Ok(context) = plugin.configure(&configuration.as_bytes()) else { return Ok((None, None, None)) };
    let id = context.id();
    let index = worker::keep(context);
    Ok((Some(ContextHandle(index)), Some(index), Some(id)))
}

/// `take_body()` → the body that the last callback left.
fn take_body(lua: &Lua, (): ()) -> Result<LuaString> {
    lua.create_string(BODY.take())
}

/// `take_reply()`: adds the headers of the reply that the last callback asked for to the response and returns the reply's
/// body, or nil when it has none.
fn take_reply(lua: &Lua, (): ()) -> Result<Option<LuaString>> {
    let Some((request, reply)) = REPLY.take() else { return Ok(None) };
    worker::add_reply_headers(request, &reply);
    if reply.body.is_empty() { Ok(None) } else { lua.create_string(reply.body).map(Some) }
}
