//! Which plugin is the newest of those that were loaded under one name from one file.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
};

use proxy_wasm_runtime::context::Plugin;

use crate::nginx::Nginx;

/// A name and a file, from which a plugin may be loaded again when the file has changed.
#[derive(Default)]
pub struct Source {
    newest: RefCell<Weak<Plugin<Nginx>>>,
    /// Counts up with each newer one.
    version: Cell<u32>,
}

impl Source {
    /// Counts up with each newer plugin.
    #[inline]
    pub fn version(&self) -> u32 {
        self.version.get()
    }

    /// The newest plugin, if anybody holds it.
    pub fn newest(&self) -> Option<Rc<Plugin<Nginx>>> {
        self.newest.borrow().upgrade()
    }

    /// Remembers a plugin that was loaded. One of the same bytes as the newest is no newer one.
    fn loaded(&self, plugin: &Rc<Plugin<Nginx>>) {
        if self.newest().is_none_or(|newest| !newest.has_module_of(plugin)) {
            *self.newest.borrow_mut() = Rc::downgrade(plugin);
            self.version.set(self.version.get().wrapping_add(1));
        }
    }
}

/// All sources of a worker, by name and file.
#[derive(Default)]
pub struct Sources(HashMap<(Vec<u8>, Vec<u8>), Rc<Source>>);

impl Sources {
    /// The source of a plugin that was loaded.
    pub fn loaded(&mut self, name: &[u8], file: &[u8], plugin: &Rc<Plugin<Nginx>>) -> Rc<Source> {
        let source = self.0.entry((name.to_vec(), file.to_vec())).or_default();
        source.loaded(plugin);
        source.clone()
    }
}
