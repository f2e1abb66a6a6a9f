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
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    /// Whether it was set since the last time.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

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

    /// Polls the machine if that is of use, and says whether it was. What is left when the limit of quiet turns is reached
    /// waits for the next call.
    pub(crate) fn turn(&mut self) -> bool {
        let moved = self.pipe.moved();
        let has_moved = std::mem::replace(&mut self.moved, moved) != moved;
        self.quiet_turns = if has_moved { 0 } else { self.quiet_turns + 1 };
        if self.quiet_turns > QUIET_TURNS {
            self.quiet_turns = 0;
            return false;
        }
        let is_of_use = self.woken.take() || has_moved;
        if !is_of_use {
            self.quiet_turns = 0;
        } else if let Some(machine) = &mut self.machine {
            machine.poll(&mut Context::from_waker(&self.waker));
        }
        is_of_use
    }

    /// Something came of the turns, though no bytes moved.
    pub(crate) fn count_as_moved(&mut self) {
        self.quiet_turns = 0;
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.run();
        !self.pipe.input_has_ended() && self.machine.as_ref().is_some_and(Machine::is_ready)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_always_wants_more_is_left_alone() {
        let mut driver = Driver::new(Protocol::Http1, &Limits::default());
        let mut turns = 0;
        while driver.turn() {
            driver.wake();
            turns += 1;
        }
        assert_eq!(turns, QUIET_TURNS);
        assert!(driver.turn(), "the next call goes on");
        driver.run();
        assert!(!driver.turn());
    }
}
