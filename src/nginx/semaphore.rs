use std::{cell::Cell, ptr::NonNull, rc::Rc};

use mlua::{Lua, RegistryKey, Table};

use super::{
    process::lua_goes_on,
    symbols::{NgxSemaphore, Symbols},
};

/// A semaphore of ngx_lua, on which a coroutine waits, or has waited. Lua's registry keeps it as long as there is a handle of it,
/// however the coroutine ends.
#[derive(Clone)]
pub struct Semaphore(Rc<Anchored>);

struct Anchored {
    address: NonNull<NgxSemaphore>,
    /// Lua lets go of the object with the next semaphore, or with [`Semaphore::collect`].
    _object: RegistryKey,
    lua_lives: LuaLives,
}

/// Whether a Lua virtual machine has not begun to close. Where `lua_code_cache` is off each request has its own.
#[derive(Clone)]
pub struct LuaLives(Rc<Cell<bool>>);

impl LuaLives {
    /// That of `lua`, which [`Self::end`] must be told of.
    pub fn new(lua: &Lua) -> Self {
        let lives = Self(Rc::new(Cell::new(true)));
        lua.set_app_data(lives.clone());
        lives
    }

    /// The virtual machine closes: its objects go, in any order.
    pub fn end(&self) {
        self.0.set(false);
    }
}

impl Semaphore {
    /// A handle of the semaphore that `object` owns; `None` when the address is null.
    ///
    /// # Errors
    /// When Lua has no memory.
    ///
    /// # Safety
    /// `address` is that of the semaphore that lives as long as `object`.
    pub unsafe fn anchor(lua: &Lua, object: Table, address: usize) -> mlua::Result<Option<Self>> {
        let lives = lua.app_data_ref::<LuaLives>().map(|lives| lives.clone());
        let (Some(address), Some(lua_lives)) = (NonNull::new(address as *mut NgxSemaphore), lives) else {
            return Ok(None);
        };
        Self::collect(lua);
        Ok(Some(Self(Rc::new(Anchored { address, _object: lua.create_registry_value(object)?, lua_lives }))))
    }

    /// Lets Lua's collector have the semaphores of which there are no handles any more.
    pub fn collect(lua: &Lua) {
        lua.expire_registry_values();
    }

    /// Wakes who waits, or who waits next. Not when its Lua virtual machine closes, as it does at the end of the process:
    /// semaphores go too.
    pub fn post(&self) {
        if lua_goes_on() && self.0.lua_lives.0.get() {
            // SAFETY: the registry has the object that owns the semaphore as long as the virtual machine lives.
            unsafe { (Symbols::get().ngx_http_lua_ffi_sema_post)(self.0.address.as_ptr(), 1) };
        }
    }
}
