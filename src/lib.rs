//! The OpenResty side of resty-wasm: the Lua module `resty.wasm.native` and access to nginx.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `body` | how much of a response body goes on that plugins change |
//! | `callout` | what plugins ask other servers: requests, connections, answers |
//! | `lua` | the functions that lib/resty/wasm.lua calls, and what lives behind its handles |
//! | `nginx` | requests, headers, variables, the log: all through symbols that nginx and ngx_lua export |
//! | `plugin_file` | reads the files of plugins |
//! | `reply` | what clients get of the replies of plugins |
//! | `source` | which plugin is the newest of a file |
//! | `worker` | what one worker process keeps: plugin contexts and open requests |
//!
//! Calls go one way: Lua → `lua` → `proxy-wasm-runtime` → guest → hostcall → `HttpStream` → `nginx`.

mod body;
mod callout;
mod lua;
mod nginx;
mod plugin_file;
mod reply;
mod source;
mod worker;

/// `luaopen_resty_wasm_native`
#[mlua::lua_module(name = "resty_wasm_native", skip_memory_check)]
fn native(lua: &mlua::Lua) -> mlua::Result<mlua::Table> {
    lua::open(lua)
}
