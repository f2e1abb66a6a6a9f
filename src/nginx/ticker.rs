//! The thread that makes time pass for guests. It starts with the first call of a guest in a process, and sleeps while none runs.

use std::{
    cell::Cell,
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, Thread},
    time::Instant,
};

use proxy_wasm_runtime::vm::{TICK, Ticker};

use super::one_thread::OneThread;

/// For how many ticks no guest has run when the thread goes to sleep.
const IDLE_TICKS: u32 = 10;

/// How many guests run: one that calls Lua may have it call another. Only nginx's thread writes it.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// A guest has run since the last tick.
static HAS_RUN: AtomicBool = AtomicBool::new(false);
/// The thread ticks.
static TICKS: AtomicBool = AtomicBool::new(false);
/// The thread of this process, if it has started. Of nginx's thread alone: the other one does not look for itself.
static THREAD: OneThread<Cell<Option<Thread>>> = OneThread::new(Cell::new(None));

/// A guest begins to run. `ticker` is asked for when there is no thread yet.
#[inline]
pub fn guest_begins(ticker: impl FnOnce() -> Option<Ticker>) {
    RUNNING.store(RUNNING.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    HAS_RUN.store(true, Ordering::Relaxed);
    if !TICKS.load(Ordering::Acquire) {
        wake(ticker);
    }
}

/// The guest has run.
#[inline]
pub fn guest_ends() {
    RUNNING.store(RUNNING.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
}

#[cold]
fn wake(ticker: impl FnOnce() -> Option<Ticker>) {
    forget_thread_in_children();
    TICKS.store(true, Ordering::Release);
    let thread = THREAD.take().inspect(Thread::unpark).or_else(|| ticker().and_then(start));
    THREAD.set(thread);
}

/// Starts the thread. nginx's signals are for its own.
fn start(ticker: Ticker) -> Option<Thread> {
    let signals = BlockedSignals::new();
    let started = thread::Builder::new().name("resty-wasm".to_owned()).stack_size(64 << 10).spawn(move || run(&ticker));
    drop(signals);
    started.ok().map(|handle| handle.thread().clone())
}

fn run(ticker: &Ticker) {
    loop {
        let mut idle = 0;
        let mut next = Instant::now();
        while idle < IDLE_TICKS {
            next = sleep_until(next + TICK);
            ticker.tick();
            let is_used = HAS_RUN.swap(false, Ordering::Relaxed) || runs();
            idle = if is_used { 0 } else { idle + 1 };
        }
        TICKS.store(false, Ordering::Release);
        // A guest that began just before has not seen it, and is seen by now.
        thread::sleep(TICK);
        if runs() || HAS_RUN.load(Ordering::Relaxed) {
            TICKS.store(true, Ordering::Release);
        }
        while !TICKS.load(Ordering::Acquire) {
            thread::park();
        }
    }
}

/// Sleeps, and returns when the sleep should have ended: each one is a little longer than it is asked to be, and 500 would be
/// tens of milliseconds. One that took far longer is not made up for, or guests that began meanwhile would be cut too early.
fn sleep_until(time: Instant) -> Instant {
    thread::sleep(time.saturating_duration_since(Instant::now()));
    let now = Instant::now();
    if now.duration_since(time) < TICK { time } else { now }
}

pub fn runs() -> bool {
    RUNNING.load(Ordering::Relaxed) > 0
}

/// A child of this process has no such thread.
fn forget_thread_in_children() {
    static REGISTERED: Once = Once::new();
    // POSIX allows what is async-signal-safe here: stores to the statics are, and nothing is freed.
    extern "C" fn in_child() {
        RUNNING.store(0, Ordering::Relaxed);
        TICKS.store(false, Ordering::Relaxed);
        std::mem::forget(THREAD.take());
    }
    // SAFETY: the handler keeps to the above. It runs on the thread that forks, which is nginx's: no other thread of the process
    // forks, and nginx's is not inside of `wake` then. The library is never unloaded.
    REGISTERED.call_once(|| _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) });
}

/// All signals are blocked in this thread while it lives.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn new() -> Self {
        // SAFETY: both sets are plain memory that the calls fill.
        unsafe {
            let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            Self(old)
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is the one that the thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}
