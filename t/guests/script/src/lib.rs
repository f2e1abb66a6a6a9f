//! A guest that does what its plugin configuration says: each line is `CALLBACK: COMMAND args…`, see ../README.md.

mod abi;
mod callouts;
mod commands;
mod words;

use commands::Callback;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use words::Line;

type Script = Rc<Vec<Line>>;

#[derive(Default)]
struct State {
    /// By plugin context.
    scripts: BTreeMap<i32, Script>,
    /// The plugin context of each stream context.
    parents: BTreeMap<i32, i32>,
    /// What the host has allocated since the callback began.
    allocated: Vec<Box<[u8]>>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// The callbacks with an answer to a callout, whose token is the second argument.
const ANSWERS: &[&str] =
    &["call_response", "grpc_initial_metadata", "grpc_message", "grpc_trailing_metadata", "grpc_close"];

const CALLBACKS: &[&str] = &[
    "configure",
    "tick",
    "queue_ready",
    "foreign_function",
    "plugin_done",
    "plugin_delete",
    "stream_create",
    "request_headers",
    "request_body",
    "response_headers",
    "response_body",
    "response_trailers",
    "log",
    "done",
    "delete",
];

/// Runs the script's commands for one callback; `args[0]` is the context.
fn run(name: &str, args: &[i32], result: i32) -> i32 {
    let script = STATE.with_borrow_mut(|state| {
        state.allocated.clear();
        let plugin = state.parents.get(&args[0]).unwrap_or(&args[0]);
        callouts::STREAM.store(if plugin == &args[0] { 0 } else { args[0] }, Relaxed);
        state.scripts.get(plugin).cloned().unwrap_or_default()
    });
    let label = if ANSWERS.contains(&name) { callouts::answered(args[1]) } else { String::new() };
    let mut callback = Callback { name: name.into(), args, result, context: args[0] };
    let is_wanted = |line: &&Line| line.callback == name && line.label.as_ref().is_none_or(|wanted| *wanted == label);
    script.iter().filter(is_wanted).for_each(|line| callback.run(line));
    callback.result
}

/// Frees what the host has allocated in this callback.
fn free_allocated() {
    STATE.with_borrow_mut(|state| state.allocated.clear());
}

fn is_stream(context: i32) -> bool {
    STATE.with_borrow(|state| state.parents.contains_key(&context))
}

fn configuration(size: i32) -> Result<Vec<Line>, String> {
    const PLUGIN_CONFIGURATION: i32 = 7;
    abi::clear_out();
    let status = unsafe { abi::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, abi::out(0), abi::out(1)) };
    if status != 0 && size != 0 {
        return Err(format!("cannot read the configuration: status {status}"));
    }
    let lines = words::parse(&String::from_utf8_lossy(&abi::returned_bytes()))?;
    match lines.iter().find(|line| !is_callback(line)) {
        Some(line) => Err(format!("no such callback: {}", line.written_callback())),
        None => Ok(lines),
    }
}

fn is_callback(line: &Line) -> bool {
    let name = line.callback.as_str();
    ANSWERS.contains(&name) || line.label.is_none() && CALLBACKS.contains(&name)
}

#[no_mangle]
extern "C" fn proxy_abi_version_0_2_1() {}

/// A library has to say that it is a reactor, or each export runs the constructors anew.
#[no_mangle]
extern "C" fn _initialize() {
    extern "C" {
        fn __wasm_call_ctors();
    }
    unsafe { __wasm_call_ctors() };
}

#[no_mangle]
extern "C" fn proxy_on_memory_allocate(size: i32) -> *mut u8 {
    let mut memory = vec![0; size as usize].into_boxed_slice();
    let address = memory.as_mut_ptr();
    STATE.with_borrow_mut(|state| state.allocated.push(memory));
    address
}

#[no_mangle]
extern "C" fn proxy_on_vm_start(_plugin: i32, _size: i32) -> i32 {
    1
}

#[no_mangle]
extern "C" fn proxy_on_context_create(context: i32, parent: i32) {
    if parent != 0 {
        STATE.with_borrow_mut(|state| state.parents.insert(context, parent));
        run("stream_create", &[context, parent], 0);
    }
}

#[no_mangle]
extern "C" fn proxy_on_configure(plugin: i32, size: i32) -> i32 {
    match configuration(size) {
        Ok(script) => {
            STATE.with_borrow_mut(|state| state.scripts.insert(plugin, Rc::new(script)));
            run("configure", &[plugin, size], 1)
        }
        Err(why) => {
            abi::log(4, &format!("configure {plugin}: {why}"));
            0
        }
    }
}

#[no_mangle]
extern "C" fn proxy_on_tick(plugin: i32) {
    run("tick", &[plugin], 0);
}

#[no_mangle]
extern "C" fn proxy_on_queue_ready(plugin: i32, queue: i32) {
    commands::QUEUE.store(queue as u32, Relaxed);
    run("queue_ready", &[plugin, queue], 0);
}

#[no_mangle]
extern "C" fn proxy_on_http_call_response(plugin: i32, token: i32, headers: i32, body: i32, trailers: i32) {
    run("call_response", &[plugin, token, headers, body, trailers], 0);
}

#[no_mangle]
extern "C" fn proxy_on_grpc_receive_initial_metadata(plugin: i32, token: i32, count: i32) {
    run("grpc_initial_metadata", &[plugin, token, count], 0);
}

#[no_mangle]
extern "C" fn proxy_on_grpc_receive(plugin: i32, token: i32, size: i32) {
    run("grpc_message", &[plugin, token, size], 0);
}

#[no_mangle]
extern "C" fn proxy_on_grpc_receive_trailing_metadata(plugin: i32, token: i32, count: i32) {
    run("grpc_trailing_metadata", &[plugin, token, count], 0);
}

#[no_mangle]
extern "C" fn proxy_on_grpc_close(plugin: i32, token: i32, status: i32) {
    run("grpc_close", &[plugin, token, status], 0);
}

#[no_mangle]
extern "C" fn proxy_on_foreign_function(plugin: i32, function: i32, size: i32) {
    run("foreign_function", &[plugin, function, size], 0);
}

#[no_mangle]
extern "C" fn proxy_on_request_headers(context: i32, count: i32, end: i32) -> i32 {
    run("request_headers", &[context, count, end], 0)
}

#[no_mangle]
extern "C" fn proxy_on_request_body(context: i32, size: i32, end: i32) -> i32 {
    run("request_body", &[context, size, end], 0)
}

#[no_mangle]
extern "C" fn proxy_on_response_headers(context: i32, count: i32, end: i32) -> i32 {
    run("response_headers", &[context, count, end], 0)
}

#[no_mangle]
extern "C" fn proxy_on_response_body(context: i32, size: i32, end: i32) -> i32 {
    run("response_body", &[context, size, end], 0)
}

#[no_mangle]
extern "C" fn proxy_on_response_trailers(context: i32, count: i32) -> i32 {
    run("response_trailers", &[context, count], 0)
}

#[no_mangle]
extern "C" fn proxy_on_done(context: i32) -> i32 {
    run(if is_stream(context) { "done" } else { "plugin_done" }, &[context], 1)
}

#[no_mangle]
extern "C" fn proxy_on_log(context: i32) {
    run("log", &[context], 0);
}

#[no_mangle]
extern "C" fn proxy_on_delete(context: i32) {
    run(if is_stream(context) { "delete" } else { "plugin_delete" }, &[context], 0);
    STATE.with_borrow_mut(|state| {
        state.parents.remove(&context);
        state.scripts.remove(&context);
    });
}
