//! Polls a machine as long as that is of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use crate::event::Limits;
use crate::machine::{Machine, Protocol};
use crate::pipe::Pipe;

/// How often hyper is polled while it asks for that and moves no bytes. It asks a few times at most; this is against endless
/// loops.
const QUIET_TURNS: u32 = 64;

pub(crate) struct Driver {
    pub(crate) pipe: Pipe,
    /// `None` once no exchange can follow.
    pub(crate) machine: Option<Machine>,
    woken: Arc<Woken>,
    waker: Waker,
    moved: u64,
    quiet_turns: u32,
}

/// Set when hyper has more to do.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Driver {
    pub(crate) fn new(protocol: Protocol, limits: &Limits) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let pipe = Pipe::default();
        Self {
            machine: Machine::new(protocol, limits, pipe.clone()),
            pipe,
            waker: Waker::from(woken.clone()),
            woken,
            moved: 0,
            quiet_turns: 0,
        }
    }

    /// Where the exchange's futures say that they have more to do.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// There is something new for the machine.
    pub(crate) fn wake(&self) {
        self.woken.0.store(true, Ordering::Relaxed);
    }

    /// Polls the machine until that is of no more use.
    pub(crate) fn run(&mut self) {
        while self.turn() {}
    }

    /// Polls the machine if that is of use, and says whether it was.
    pub(crate) fn turn(&mut self) -> bool {
        let moved = self.pipe.moved();
        self.quiet_turns = if moved == self.moved { self.quiet_turns + 1 } else { 0 };
        let is_of_use = self.woken.0.swap(false, Ordering::Relaxed) || moved != self.moved;
        self.moved = moved;
        if !is_of_use || self.quiet_turns > QUIET_TURNS {
            self.quiet_turns = 0;
            return false;
        }
        if let Some(machine) = &mut self.machine {
            machine.poll(&mut Context::from_waker(&self.waker));
        }
        true
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.run();
        let is_open = !self.pipe.input_has_ended() && !self.pipe.has_input();
        is_open && self.machine.as_ref().is_some_and(Machine::is_ready)
    }

    /// Drops what belongs to the exchange, and over HTTP/1.1 the connection with it.
    pub(crate) fn abandon_exchange(&mut self) {
        if !self.machine.as_mut().is_some_and(Machine::abandon_exchange) {
            self.machine = None;
            self.pipe.clear();
        }
        self.wake();
    }
}
