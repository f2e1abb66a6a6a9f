//! The Lua module `resty.wasm.native`, which lib/resty/wasm.lua alone calls.

mod on_event;

use std::{cell::RefCell, rc::Rc};

use mlua::{AnyUserData, Error, Lua, LuaString, Result, Table, UserData};
use proxy_wasm_host::context::Plugin;

use crate::{
    nginx::{Nginx, load_symbols, remember_lua_functions},
    worker,
};

thread_local! {
    /// The body of the reply that the last callback asked for.
    static REPLY_BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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
    module.set("take_reply_body", lua.create_function(take_reply_body)?)?;
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

/// `take_reply_body()` → the body of the reply that the last callback asked for, or nil when it has none.
fn take_reply_body(lua: &Lua, (): ()) -> Result<Option<LuaString>> {
    let body = REPLY_BODY.take();
    if body.is_empty() { Ok(None) } else { lua.create_string(body).map(Some) }
}
