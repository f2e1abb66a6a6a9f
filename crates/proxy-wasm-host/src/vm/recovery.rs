use std::time::{Duration, Instant};

use crate::error::{CallError, TrapKind};

/// The first rest of a plugin that keeps failing; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How a virtual machine has fared. One that traps is built anew for the next call; one that traps again before it has served a
/// stream rests first.
#[derive(Default)]
pub(crate) struct Recovery {
    /// Traps since it last served a stream.
    failures: u32,
    rests_until: Option<Instant>,
    /// How often the instance was built anew.
    pub rebuilds: u64,
    /// How many traps of each kind there have been.
    pub traps: [u64; TrapKind::ALL.len()],
}

impl Recovery {
    /// The instance has trapped. Returns for how long the plugin rests, if it does.
    pub fn trapped(&mut self, kind: TrapKind) -> Option<Duration> {
        self.traps[kind as usize] += 1;
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(2)?.min(16);
        let rest = FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST);
        self.rests_until = Some(Instant::now() + rest);
        Some(rest)
    }

    /// A stream was served to its end, or a plugin context configured.
    #[inline]
    pub fn served(&mut self) {
        self.failures = 0;
    }

    /// # Errors
    /// When the plugin rests.
    pub fn check(&mut self) -> Result<(), CallError> {
        let Some(until) = self.rests_until else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.rests_until = None;
            return Ok(());
        }
        Err(CallError::Resting { failures: self.failures })
    }

    /// Whether the plugin rests now.
    pub fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }

    /// Traps since a stream was last served.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_free_and_further_ones_rest_twice_as_long_each() {
        let mut recovery = Recovery::default();
        assert_eq!(recovery.trapped(TrapKind::Unreachable), None);
        assert_eq!(recovery.check(), Ok(()));
        let rests: Vec<u128> = (0..9).map(|_| recovery.trapped(TrapKind::Deadline).unwrap().as_millis()).collect();
        assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(recovery.check(), Err(CallError::Resting { failures: 10 }));
        assert!(recovery.is_resting());
        for _ in 0..100 {
            assert_eq!(recovery.trapped(TrapKind::Deadline), Some(LONGEST_REST));
        }
    }

    #[test]
    fn a_plugin_that_serves_again_begins_anew() {
        let mut recovery = Recovery::default();
        recovery.trapped(TrapKind::Unreachable);
        recovery.served();
        assert_eq!(recovery.trapped(TrapKind::Unreachable), None);
        assert_eq!(recovery.traps[TrapKind::Unreachable as usize], 2);
    }
}
