//! The Lua module `resty.wasm.native`, which lib/resty/wasm.lua alone calls.

mod callouts;
mod on_event;

use std::{cell::Cell, rc::Rc, time::Duration};

use mlua::{AnyUserData, Error, Function, Lua, LuaString, Result, Table, UserData};
use proxy_wasm_runtime::{
    CallError, Host,
    abi::LogLevel,
    callout::Upstreams,
    context::{Options, Plugin},
    hostcalls::{Capabilities, LocalReply, UnknownHostcall},
    store,
};

use crate::{
    nginx::{
        LuaLives, Nginx, OneThread, Request, caller, load_symbols, open_dict, set_lua_function, with_caller,
        without_caller,
    },
    plugin_file, reply,
    source::Source,
    worker::{self, Bodies},
};

/// The body that the last callback left, until bodies.lua takes it, right after.
static BODY: OneThread<Cell<Vec<u8>>> = OneThread::new(Cell::new(Vec::new()));
/// The reply that the last callback asked for, until local_reply.lua takes it, right after.
static REPLY: OneThread<Cell<Option<PendingReply>>> = OneThread::new(Cell::new(None));

/// A reply, and the request that it answers.
type PendingReply = (Request, Box<LocalReply>);

/// A loaded plugin, held by Lua.
struct PluginHandle {
    plugin: Rc<Plugin<Nginx>>,
    source: Rc<Source>,
    /// Of the source, when it was loaded.
    version: u32,
    bodies: Bodies,
}

impl UserData for PluginHandle {}

/// A plugin context, held by Lua by its index.
struct ContextHandle(usize);

impl UserData for ContextHandle {}

impl Drop for ContextHandle {
    fn drop(&mut self) {
        without_caller(|| worker::release(self.0));
    }
}

/// Held by the module: dropped when Lua's state is closed.
struct Closing(LuaLives);

impl UserData for Closing {}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.end();
        without_caller(worker::end_retired);
    }
}

/// The module's table.
///
/// # Errors
/// When nginx lacks what the library needs.
pub fn open(lua: &Lua) -> Result<Table> {
    load_symbols().or_else(|missing| Err(Error::runtime(format!("{} {missing}", about_nginx(lua)?))))?;
    let request: Table = lua.globals().get::<Table>("ngx")?.get("req")?;
    for name in ["set_uri", "set_uri_args"] {
        set_lua_function(lua, name, request.get(name)?)?;
    }
    open_dict(lua)?;

    let module = lua.create_table()?;
    module.set("closing", Closing(LuaLives::new(lua)))?;
    module.set("load", lua.create_function(load)?)?;
    module.set("on_configure", lua.create_function(on_configure)?)?;
    module.set("on_foreign_function", lua.create_function(on_foreign_function)?)?;
    module.set("on_event", on_event::function(lua)?)?;
    callouts::register(lua, &module)?;
    module.set("is_pending", lua.create_function(is_pending)?)?;
    module.set("take_pending", lua.create_function(take_pending)?)?;
    module.set("next_timer", lua.create_function(next_timer)?)?;
    module.set("timer_refused", lua.create_function(timer_refused)?)?;
    module.set("on_timer", lua.create_function(on_timer)?)?;
    module.set("before_watch_sleeps", lua.create_function(before_watch_sleeps)?)?;
    module.set("publish", lua.create_function(publish)?)?;
    module.set("set_function", lua.create_function(set_function)?)?;
    module.set("status", lua.create_function(status)?)?;
    module.set("prometheus", lua.create_function(prometheus)?)?;
    module.set("take_body", lua.create_function(take_body)?)?;
    module.set("take_reply", lua.create_function(take_reply)?)?;
    Ok(module)
}

/// The versions of nginx and ngx_lua, for messages.
fn about_nginx(lua: &Lua) -> Result<String> {
    let config = lua.globals().get::<Table>("ngx")?.get::<Table>("config")?;
    // 1022001 is 1.22.1, and 10023 is 0.10.23.
    let version = |name| {
        let number = config.get::<u32>(name)?;
        Ok::<_, Error>(format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000))
    };
    Ok(format!("nginx {} with ngx_lua {}", version("nginx_version")?, version("ngx_lua_version")?))
}

/// `load(name, file, options)` → plugin; or nil and why the file is not read; or nil alone when why is in the error log.
/// options.lua has checked the options.
fn load(
    lua: &Lua,
    (name, file, options): (LuaString, LuaString, Option<Table>),
) -> Result<(Option<PluginHandle>, Option<LuaString>)> {
    let bodies = options.as_ref().map_or(Ok(Bodies::default()), bodies)?;
    let options = match plugin_options(&name, options)? {
        Ok(options) => options,
        Err(unknown) => {
            Nginx.log(None, LogLevel::Error, format!("bad options: {unknown}").as_bytes());
            return Ok((None, None));
        }
    };
    let read = plugin_file::read(&file.as_bytes());
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(refusal) => {
            let error = [&*file.as_bytes(), format!(": {refusal}").as_bytes()].concat();
            return Ok((None, Some(lua.create_string(error)?)));
        }
    };
    let plugin = with_lua(lua, || worker::load(options, &file.as_bytes(), &bytes));
    let handle = plugin.map(|plugin| {
        let source = worker::source(&name.as_bytes(), &file.as_bytes(), &plugin);
        PluginHandle { plugin, version: source.version(), source, bodies }
    });
    Ok((handle, None))
}

/// What options.lua has checked, but for the names of hostcalls.
fn plugin_options(name: &LuaString, given: Option<Table>) -> Result<std::result::Result<Options, UnknownHostcall>> {
    let mut options = Options::new(&name.to_string_lossy());
    let Some(given) = given else { return Ok(Ok(options)) };
    if let Some(vm_id) = given.get::<Option<LuaString>>("vm_id")? {
        options.vm_id = vm_id.to_string_lossy().into();
    }
    if let Some(configuration) = given.get::<Option<LuaString>>("vm_configuration")? {
        options.vm_configuration = configuration.as_bytes().to_vec().into();
    }
    options.escape_invalid_utf8 = given.get::<Option<bool>>("escape_invalid_utf8")?.unwrap_or_default();
    options.shared_data_ttl = given.get::<Option<f64>>("shared_data_ttl")?.map(Duration::from_secs_f64);
    options.shared_data_limit = given.get::<Option<usize>>("shared_data_limit")?;
    options.shared_queue_limit = given.get::<Option<usize>>("shared_queue_limit")?;
    options.metric_limit = given.get::<Option<usize>>("metric_limit")?;
    if let Some(timeout) = given.get::<Option<u64>>("callback_timeout")? {
        options.callback_timeout = Duration::from_millis(timeout);
    }
    if let Some(time) = given.get::<Option<u64>>("background_cpu")? {
        options.background_cpu = Duration::from_millis(time);
    }
    if let Some(limit) = given.get::<Option<usize>>("memory_limit")? {
        options.memory_limit = limit;
    }
    if let Some(limit) = given.get::<Option<usize>>("table_limit")? {
        options.table_limit = limit;
    }
    if let Some(limit) = given.get::<Option<usize>>("header_limit")? {
        options.header_limit = limit;
    }
    if let Some(limit) = given.get::<Option<usize>>("pool_limit")? {
        options.pool_limit = limit;
    }
    options.fail_open = given.get::<Option<LuaString>>("fail")?.is_some_and(|policy| policy.as_bytes() == b"open");
    for name in given.get::<Option<Vec<String>>>("env")?.unwrap_or_default() {
        if let Ok(value) = std::env::var(&name) {
            options.env.push((name, value));
        }
    }
    options.wait_only_when_paused = given.get::<Option<bool>>("wait_only_when_paused")?.unwrap_or_default();
    options.callouts_in_flight = given.get::<Option<usize>>("callouts_in_flight")?;
    if let Some(most) = given.get::<Option<usize>>("callouts_per_request")? {
        options.callouts_per_request = most;
    }
    if let Some(most) = given.get::<Option<usize>>("callout_bytes_in_flight")? {
        options.callout_bytes_in_flight = most;
    }
    if let Some(size) = given.get::<Option<usize>>("callout_response_size")? {
        options.callout_response_size = size;
    }
    options.callout_upstreams = upstreams(&given, "callout_upstreams")?;
    options.callout_http2 = upstreams(&given, "callout_http2")?.unwrap_or_default();
    if let Some(rate) = given.get::<Option<u32>>("log_rate")? {
        options.log_rate = rate;
    }
    if let Some(size) = given.get::<Option<usize>>("body_limit")? {
        options.body_limit = size;
    }
    let allowed = given.get::<Option<Vec<String>>>("capabilities")?;
    let denied = given.get::<Option<Vec<String>>>("denied_capabilities")?.unwrap_or_default();
    Ok(Capabilities::new(allowed.as_deref(), &denied).map(|capabilities| Options { capabilities, ..options }))
}

fn upstreams(options: &Table, name: &str) -> Result<Option<Upstreams>> {
    let patterns = options.get::<Option<Vec<LuaString>>>(name)?;
    Ok(patterns.map(|patterns| Upstreams::new(patterns.iter().map(|pattern| pattern.as_bytes().to_vec()))))
}

fn bodies(options: &Table) -> Result<Bodies> {
    let is_set = |name| options.get::<Option<bool>>(name).map(Option::unwrap_or_default);
    Ok(Bodies { request: is_set("request_body")?, response: is_set("response_body")? })
}

/// `set_function(name, function)`: hostcalls call the function under this name.
fn set_function(lua: &Lua, (name, function): (LuaString, Function)) -> Result<()> {
    set_lua_function(lua, &name.to_string_lossy(), function)
}

/// `on_configure(plugin, configuration)` → context, index; or nil; why not is in the error log.
fn on_configure(
    lua: &Lua,
    (plugin, configuration): (AnyUserData, LuaString),
) -> Result<(Option<ContextHandle>, Option<usize>, Option<u32>)> {
    let (plugin, source, version, bodies) = {
        let handle = plugin.borrow::<PluginHandle>()?;
        (handle.plugin.clone(), handle.source.clone(), handle.version, handle.bodies)
    };
    let configured = with_lua(lua, || plugin.configure(&configuration.as_bytes()));
    let Ok(context) = configured.inspect_err(log_refusal) else { return Ok((None, None, None)) };
    let id = context.id();
    let index = worker::keep(context, source, version, bodies);
    Ok((Some(ContextHandle(index)), Some(index), Some(id)))
}

/// `is_pending()` → whether there is something that only Lua can do.
fn is_pending(_: &Lua, (): ()) -> Result<bool> {
    Ok(worker::is_pending())
}

/// `take_pending()` → the same, once.
fn take_pending(_: &Lua, (): ()) -> Result<bool> {
    Ok(worker::take_pending())
}

/// `next_timer()` → seconds until it fires, number; or nothing when none is to be started. It, or `timer_refused`, gets the number.
fn next_timer(lua: &Lua, (): ()) -> Result<(Option<f64>, Option<u64>)> {
    let Some(timer) = worker::next_timer(configuration_of_caller(lua)) else { return Ok((None, None)) };
    // nginx takes no part of a millisecond.
    Ok((Some(timer.delay.as_micros().div_ceil(1000) as f64 / 1000.0), Some(timer.number)))
}

/// `timer_refused(number)`: it could not be started.
fn timer_refused(lua: &Lua, number: u64) -> Result<()> {
    worker::timer_refused(configuration_of_caller(lua), number);
    Ok(())
}

/// `on_timer(number)`: it has fired.
fn on_timer(lua: &Lua, number: u64) -> Result<()> {
    let configuration = configuration_of_caller(lua);
    with_lua(lua, || worker::on_timer(configuration, number));
    Ok(())
}

/// `before_watch_sleeps()` → after how many seconds the Lua code that watches has to look again, at most.
fn before_watch_sleeps(lua: &Lua, (): ()) -> Result<f64> {
    let configuration = configuration_of_caller(lua);
    Ok(with_lua(lua, || worker::before_watch_sleeps(configuration)).as_secs_f64())
}

/// `publish()`: publishes the metrics of this worker.
fn publish(_: &Lua, (): ()) -> Result<()> {
    worker::publish();
    Ok(())
}

/// What tells the configuration of the running Lua code's location from others.
fn configuration_of_caller(lua: &Lua) -> usize {
    with_lua(lua, || caller().map_or(0, Request::configuration))
}

/// Runs `call` so that hostcalls can call Lua functions.
#[expect(unsafe_code, reason = "mlua gives its state for nothing else")]
fn with_lua<R>(lua: &Lua, call: impl FnOnce() -> R) -> R {
    // SAFETY: mlua's state is the coroutine that called, which is the running one until this returns.
    unsafe { lua.exec_raw_lua(|lua| with_caller(lua.state(), call)) }
}

/// `status()` → a list with a table for each plugin of this worker.
fn status(lua: &Lua, (): ()) -> Result<Table> {
    let plugins = lua.create_table()?;
    for status in worker::statuses() {
        let plugin = lua.create_table()?;
        plugin.set("name", &*status.name)?;
        plugin.set("state", status.health.name())?;
        plugin.set("calls", status.calls)?;
        plugin.set("rebuilds", status.rebuilds)?;
        plugin.set("memory", status.memory)?;
        plugin.set("plugin_contexts", status.plugin_contexts)?;
        plugin.set("stream_contexts", status.stream_contexts)?;
        plugin.set("callouts", status.callouts)?;
        let traps = lua.create_table()?;
        for (kind, count) in status.traps {
            traps.set(kind.name(), count)?;
        }
        plugin.set("traps", traps)?;
        plugins.push(plugin)?;
    }
    Ok(plugins)
}

/// `prometheus()` → the metrics of all plugins as text
fn prometheus(lua: &Lua, (): ()) -> Result<LuaString> {
    worker::publish();
    lua.create_string(store::prometheus(Nginx.dict()))
}

/// `on_foreign_function(index, function, arguments)` → whether it succeeded; why not is in the error log.
fn on_foreign_function(lua: &Lua, (index, function, arguments): (usize, u32, LuaString)) -> Result<bool> {
    let result = with_lua(lua, || worker::on_foreign_function(index, function, &arguments.as_bytes()));
    Ok(result.inspect_err(log_refusal).is_ok())
}

/// A guest that is not called can't say why.
fn log_refusal(error: &CallError) {
    if matches!(error, CallError::Busy) {
        Nginx.log(None, LogLevel::Error, error.to_string().as_bytes());
    }
}

/// `take_body()` → the body that the last callback left.
fn take_body(lua: &Lua, (): ()) -> Result<LuaString> {
    lua.create_string(BODY.take())
}

/// `take_reply()`: adds the headers of the reply that the last callback asked for to the response and returns the reply's
/// body, or nil when it has none.
fn take_reply(lua: &Lua, (): ()) -> Result<Option<LuaString>> {
    let Some((request, reply)) = REPLY.take() else { return Ok(None) };
    reply::add_reply_headers(request, &reply);
    let is_of_nginx = reply.body.is_empty() && !reply::has_no_body(&reply);
    if is_of_nginx { Ok(None) } else { lua.create_string(reply.body).map(Some) }
}
