//! What an instance may use.

use std::time::Duration;

use wasmtime::{ResourceLimiter, Store};

use crate::{context::Options, error::Trap, host::Host, vm::State};

/// How exactly the time of a callback is measured: [`Ticker::tick`] is to be called this often while guests run.
pub const TICK: Duration = Duration::from_millis(10);
/// How large the stack of a guest may be, in bytes. nginx's own thread has 8 MiB, as the system gives it.
pub(super) const STACK: usize = 512 << 10;
/// How many elements the tables of an instance may have, each.
const MOST_TABLE_ELEMENTS: usize = 1 << 20;
/// How many tables an instance may have.
const MOST_TABLES: usize = 64;

/// How many plugin contexts of an instance may wait for `proxy_done`.
pub(super) const MOST_DRAINING: usize = 100;

/// Makes time pass for the guests of an engine. It may be called from any thread.
pub struct Ticker(wasmtime::Engine);

impl Ticker {
    pub(crate) fn new(engine: wasmtime::Engine) -> Self {
        Self(engine)
    }

    /// Lets [`TICK`] pass: a guest whose time is over traps.
    pub fn tick(&self) {
        self.0.increment_epoch();
    }
}

/// Refuses what an instance may not have.
pub(crate) struct Limiter {
    /// Of the linear memory, in bytes.
    memory: usize,
}

impl Limiter {
    pub fn new(options: &Options) -> Self {
        Self { memory: options.memory_limit }
    }
}

impl ResourceLimiter for Limiter {
    /// A guest that is refused memory can't go on in any way that it was tested in: it traps.
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.memory;
        if desired > limit { Err(Trap::MemoryLimit { desired, limit }.into()) } else { Ok(true) }
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = MOST_TABLE_ELEMENTS;
        if desired > limit { Err(Trap::TableLimit { desired, limit }.into()) } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MOST_TABLES
    }

    fn memories(&self) -> usize {
        1
    }
}

/// Gives a guest its time for one callback, from now on.
#[inline]
pub(super) fn start_clock<H: Host>(store: &mut Store<State<H>>) {
    let ticks = store.data().callback_ticks;
    store.set_epoch_deadline(ticks);
}

/// The ticks of a callback that may run for `timeout`. The first may come at once.
pub(super) fn ticks(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX / 2).saturating_add(1)
}
