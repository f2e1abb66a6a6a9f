//! What an instance may use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use wasmtime::{ResourceLimiter, Store};

use crate::{
    context::Options,
    error::{Failure, Trap},
    host::Host,
    vm::State,
};

/// How exactly the time of a callback is measured: [`Ticker::tick`] is to be called this often while guests run.
pub const TICK: Duration = Duration::from_millis(10);
/// How large a module may be, in bytes.
pub const MODULE_SIZE: usize = 64 << 20;
/// How large the stack of a guest may be, in bytes. nginx's own thread has 8 MiB, as the system gives it.
pub(super) const STACK: usize = 512 << 10;
/// How many tables an instance may have.
const MOST_TABLES: usize = 64;

/// How many plugin contexts of an instance may wait for `proxy_done`.
pub(super) const MOST_DRAINING: usize = 100;

/// Makes time pass for the guests of an engine. It may be called from any thread.
pub struct Ticker {
    engines: [wasmtime::Engine; 2],
    ticks: Ticks,
}

impl Ticker {
    pub(crate) fn new(engines: [wasmtime::Engine; 2], ticks: Ticks) -> Self {
        Self { engines, ticks }
    }

    /// Lets [`TICK`] pass: a guest whose time is over traps.
    pub fn tick(&self) {
        self.ticks.0.fetch_add(1, Ordering::Relaxed);
        self.engines.iter().for_each(wasmtime::Engine::increment_epoch);
    }
}

/// The ticks of an engine so far: its epoch, which Wasmtime tells nobody.
#[derive(Clone, Default)]
pub(crate) struct Ticks(Arc<AtomicU64>);

/// The time of the callback that runs, for hostcalls that take long: the epoch only stops the guest's own code.
pub(crate) struct Clock {
    now: Ticks,
    end: u64,
    /// How many ticks a callback may run.
    ticks: u64,
}

impl Clock {
    pub fn new(options: &Options, now: Ticks) -> Self {
        Self { now, end: u64::MAX, ticks: ticks(options.callback_timeout) }
    }

    /// # Errors
    /// When the callback's time is over.
    pub fn check(&self) -> Result<(), Failure> {
        let is_over = self.now.0.load(Ordering::Relaxed) >= self.end;
        if is_over { Err(Failure::Trap(wasmtime::Trap::Interrupt.into())) } else { Ok(()) }
    }
}

/// Refuses what an instance may not have.
pub(crate) struct Limiter {
    /// Of the linear memory, in bytes.
    memory: usize,
    /// Of all tables, in elements.
    table: usize,
    /// What the tables have.
    elements: usize,
}

impl Limiter {
    pub fn new(options: &Options) -> Self {
        Self { memory: options.memory_limit, table: options.table_limit, elements: 0 }
    }
}

impl ResourceLimiter for Limiter {
    /// A guest that is refused memory can't go on in any way that it was tested in: it traps.
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.memory;
        if desired > limit { Err(Trap::MemoryLimit { desired, limit }.into()) } else { Ok(true) }
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let limit = self.table;
        let desired = self.elements.saturating_add(desired - current);
        if desired > limit {
            return Err(Trap::TableLimit { desired, limit }.into());
        }
        self.elements = desired;
        Ok(true)
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
    let clock = &mut store.data_mut().clock;
    let ticks = clock.ticks;
    clock.end = clock.now.0.load(Ordering::Relaxed).saturating_add(ticks);
    store.set_epoch_deadline(ticks);
}

/// The ticks of a callback that may run for `timeout`. The first may come at once.
fn ticks(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX / 2).saturating_add(1)
}
