use std::{ffi::c_int, sync::atomic::Ordering};

use super::symbols::Symbols;

/// Whether this process runs timers and requests and has not begun to end.
pub fn process_goes_on() -> bool {
    const MASTER: c_int = 1;
    let symbols = Symbols::get();
    // SAFETY: the flags are nginx's, set by its signal handlers and event loop.
    unsafe {
        let ends = [symbols.ngx_exiting, symbols.ngx_quit, symbols.ngx_terminate]
            .into_iter()
            .any(|flag| (*flag).load(Ordering::Relaxed) != 0);
        !ends && (symbols.ngx_http_lua_ffi_get_process_type)() != MASTER
    }
}
