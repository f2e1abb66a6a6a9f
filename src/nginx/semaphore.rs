use std::ptr::NonNull;

use super::{
    process::lua_goes_on,
    symbols::{NgxSemaphore, Symbols},
};

/// A semaphore of ngx_lua, on which a coroutine waits.
#[derive(Clone, Copy)]
pub struct Semaphore(NonNull<NgxSemaphore>);

impl Semaphore {
    /// # Safety
    /// `address` is that of a semaphore that lives as long as the result or a copy of it is used, but for the end of the
    /// process.
    pub unsafe fn at(address: usize) -> Option<Self> {
        NonNull::new(address as *mut NgxSemaphore).map(Self)
    }

    /// Wakes who waits, or who waits next. Not in the finalizers of lua_close, when semaphores go too.
    pub fn post(self) {
        if lua_goes_on() {
            // SAFETY: the contract of `at`.
            unsafe { (Symbols::get().ngx_http_lua_ffi_sema_post)(self.0.as_ptr(), 1) };
        }
    }
}
