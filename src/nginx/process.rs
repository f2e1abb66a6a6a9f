use std::{ffi::c_int, sync::atomic::Ordering};

use super::symbols::Symbols;

/// `NGX_PROCESS_MASTER`
const MASTER: c_int = 1;

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
