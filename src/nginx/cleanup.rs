use std::{
    ffi::c_void,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{request::Request, symbols::Symbols};

/// Has `handler` called with the request's key when the request ends, once, before its memory goes and without a Lua state.
/// Returns `false` when nginx has no memory for it.
///
/// A handler that is added in the log phase is never called.
pub fn on_request_end(request: Request, handler: fn(usize)) -> bool {
    // SAFETY: the request lives. nginx leaves handler and data to whoever added the entry, which lives as long as the request.
    unsafe {
        let entry = (Symbols::get().ngx_http_cleanup_add)(request.as_ptr(), size_of::<Registration>());
        let Some(entry) = entry.as_mut() else { return false };
        entry.data.cast::<Registration>().write(Registration { handler, key: request.key() });
        entry.handler = Some(run);
    }
    true
}

struct Registration {
    handler: fn(usize),
    key: usize,
}

unsafe extern "C" fn run(data: *mut c_void) {
    // SAFETY: written by on_request_end into memory of the request, which is still there.
    let registration = unsafe { data.cast::<Registration>().read() };
    // A panic may not unwind into nginx; it has been reported on stderr, which is the error log.
    let _ = catch_unwind(AssertUnwindSafe(|| (registration.handler)(registration.key)));
}
