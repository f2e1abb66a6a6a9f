use std::{ffi::c_int, sync::atomic::Ordering};

use super::symbols::{NgxModule, Symbols};

/// `NGX_PROCESS_MASTER`
const MASTER: c_int = 1;

/// A larger number of connections than this is none.
const MAX_CONNECTIONS: usize = 1 << 24;

/// Whether this process runs timers and requests and has not begun to end.
pub fn process_goes_on() -> bool {
    let symbols = Symbols::get();
    // SAFETY: the flags are nginx's, set by its signal handlers and event loop.
    unsafe {
        let ends = [symbols.ngx_exiting, symbols.ngx_quit, symbols.ngx_terminate]
            .into_iter()
            .any(|flag| (*flag).load(Ordering::Relaxed) != 0);
        !ends && (symbols.ngx_http_lua_ffi_get_process_type)() != MASTER
    }
}

/// The worker's number, which the worker that takes its place has as well; `None` in any other process.
pub fn worker_number() -> Option<u32> {
    // SAFETY: the function only reads.
    u32::try_from(unsafe { (Symbols::get().ngx_http_lua_ffi_worker_id)() }).ok()
}

/// Whether Lua code of this process can use `ngx.*`: also while it waits for its last requests, but not when it
/// [has ended](process_has_ended), and not in the master.
pub fn lua_goes_on() -> bool {
    // SAFETY: the function only reads.
    !process_has_ended() && unsafe { (Symbols::get().ngx_http_lua_ffi_get_process_type)() } != MASTER
}

/// Whether this process has nothing more to do: only finalizers run, in lua_close.
pub fn process_has_ended() -> bool {
    // SAFETY: nginx always has a cycle, whose first word is its configuration. The one that it has at the very end has none.
    unsafe {
        let cycle = (*Symbols::get().ngx_cycle).load(Ordering::Relaxed);
        (*cycle).load(Ordering::Relaxed).is_null()
    }
}

/// How many connections a worker may have (`worker_connections`); `None` when this nginx does not say.
pub fn worker_connections() -> Option<usize> {
    let symbols = Symbols::get();
    let modules = symbols.event_modules.as_ref().ok()?;
    // SAFETY: a cycle's first word is its configuration, by the index of a module of the core; that of `events` points to a list
    // of configurations by the index of an event module, and the first word of the core one's is the number (ngx_event.h, since
    // nginx 0.5). Modules begin with their two indices (ngx_module.h). Each pointer is checked before it is followed.
    let connections = unsafe {
        let cycle = (*symbols.ngx_cycle).load(Ordering::Relaxed);
        let configurations = (*cycle).load(Ordering::Relaxed).cast::<*const *const *const usize>();
        let of_module = |module: *const NgxModule| configurations.wrapping_add((*module).index);
        let events = (!configurations.is_null()).then(|| *of_module(modules.ngx_events_module))?;
        let list = (!events.is_null()).then(|| *events)?;
        let core = (!list.is_null()).then(|| *list.wrapping_add((*modules.ngx_event_core_module).ctx_index))?;
        (!core.is_null()).then(|| *core)?
    };
    (1..=MAX_CONNECTIONS).contains(&connections).then_some(connections)
}
