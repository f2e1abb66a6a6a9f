use std::time::{Duration, Instant};

use crate::error::{CallError, TrapKind};

/// The first rest of a plugin that keeps failing; each further one in a row is twice as long.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Failures are weighed against what was served over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer failures in a window are no reason to rest. One client can cause that many, and building an instance anew is cheap.
const LEAST_FAILURES: f64 = 100.0;

/// How a virtual machine has fared. One that traps is built anew for the next call. It rests first when a new instance did not
/// start or did not take the configurations of its predecessor, or when most of what is asked of it fails: one request that
/// makes it trap, sent again and again, is no reason to fail all others.
pub(crate) struct Recovery {
    /// The calls since `since`.
    recent: Calls,
    /// What there was in the window before that.
    before: Calls,
    since: Instant,
    /// Rests for the same reason, one after the other.
    rests: u32,
    /// Whether a new instance is being built: a trap of it is a failure to start.
    is_starting: bool,
    rests_until: Option<Instant>,
    /// How often the instance was built anew.
    pub rebuilds: u64,
    /// How many traps of each kind there have been.
    pub traps: [u64; TrapKind::ALL.len()],
}

/// What came of what the plugin was asked to do: of its streams, ticks and configurations.
#[derive(Clone, Copy, Default)]
struct Calls {
    served: f64,
    failed: f64,
}

impl Calls {
    /// So many of them as a part of their time had.
    fn part(self, part: f64) -> Self {
        Self { served: self.served * part, failed: self.failed * part }
    }

    fn plus(self, other: Self) -> Self {
        Self { served: self.served + other.served, failed: self.failed + other.failed }
    }
}

/// Why a plugin rests, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Its instance has failed to start so many times in a row.
    Start { failures: u32, rest: Duration },
    /// So many of its calls of late have failed, of so many.
    Ratio { failed: u64, calls: u64, rest: Duration },
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            recent: Calls::default(),
            before: Calls::default(),
            since: Instant::now(),
            rests: 0,
            is_starting: false,
            rests_until: None,
            rebuilds: 0,
            traps: [0; TrapKind::ALL.len()],
        }
    }
}

impl Recovery {
    /// A new instance is about to be built.
    pub fn begin_start(&mut self) {
        self.rebuilds += 1;
        self.is_starting = true;
    }

    /// The new instance stands and has its configurations. It has yet to serve before rests are short again.
    pub fn started(&mut self) {
        self.is_starting = false;
    }

    /// The new instance did not start, or did not take its configurations. Returns how long the plugin rests.
    pub fn failed_to_start(&mut self) -> Rest {
        self.is_starting = false;
        let rest = self.rest();
        Rest::Start { failures: self.rests, rest }
    }

    /// The instance has trapped. Returns how long the plugin rests, if it does.
    pub fn trapped(&mut self, kind: TrapKind) -> Option<Rest> {
        self.traps[kind as usize] += 1;
        if self.is_starting {
            return None;
        }
        self.recent.failed += 1.0;
        let Calls { served, failed } = self.in_window(Instant::now());
        if failed < LEAST_FAILURES || failed <= served {
            return None;
        }
        (self.recent, self.before) = Default::default();
        let rest = self.rest();
        Some(Rest::Ratio { failed: failed as u64, calls: (failed + served) as u64, rest })
    }

    /// A stream was served to its end, a tick has run, or a plugin context was configured.
    #[inline]
    pub fn served(&mut self) {
        self.recent.served += 1.0;
        if self.rests != 0 && self.recent.served > self.recent.failed {
            self.rests = 0;
        }
    }

    /// The calls in the window that ends now. The clock is read for a trap alone, so that what came before it is spread evenly.
    fn in_window(&mut self, now: Instant) -> Calls {
        let elapsed = now.duration_since(self.since).as_secs_f64() / WINDOW.as_secs_f64();
        if elapsed < 1.0 {
            return self.before.part(1.0 - elapsed).plus(self.recent);
        }
        self.before = self.recent.part(1.0 / elapsed);
        self.recent = Calls::default();
        self.since = now;
        self.before
    }

    fn rest(&mut self) -> Duration {
        let rest = FIRST_REST.saturating_mul(1 << self.rests.min(16)).min(LONGEST_REST);
        self.rests = self.rests.saturating_add(1);
        self.rests_until = Some(Instant::now() + rest);
        rest
    }

    /// # Errors
    /// When the plugin rests.
    pub fn check(&mut self) -> Result<(), CallError> {
        let Some(until) = self.rests_until else { return Ok(()) };
        if until > Instant::now() {
            return Err(CallError::Resting);
        }
        self.rests_until = None;
        Ok(())
    }

    /// Whether the plugin rests now.
    pub fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u32 = LEAST_FAILURES as u32;

    fn trap(recovery: &mut Recovery) -> Option<Rest> {
        recovery.trapped(TrapKind::Unreachable)
    }

    #[test]
    fn a_start_that_fails_rests_at_once_and_twice_as_long_each_time() {
        let mut recovery = Recovery::default();
        let mut rests = Vec::new();
        for number in 1..=9 {
            recovery.begin_start();
            assert_eq!(trap(&mut recovery), None, "a trap of a start is told by the start");
            let Rest::Start { failures, rest } = recovery.failed_to_start() else {
                panic!("it is the start that failed")
            };
            assert_eq!(failures, number);
            assert_eq!(recovery.check(), Err(CallError::Resting));
            assert!(recovery.is_resting());
            rests.push(rest.as_millis());
        }
        assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(recovery.rebuilds, 9);
    }

    #[test]
    fn a_start_that_succeeds_makes_rests_short_only_when_it_has_served() {
        let mut recovery = Recovery::default();
        recovery.failed_to_start();
        recovery.started();
        assert_eq!(recovery.failed_to_start(), Rest::Start { failures: 2, rest: FIRST_REST * 2 });
        recovery.started();
        recovery.served();
        assert_eq!(recovery.failed_to_start(), Rest::Start { failures: 1, rest: FIRST_REST });
    }

    #[test]
    fn traps_rest_when_most_calls_of_a_window_fail_and_there_are_enough() {
        let mut recovery = Recovery::default();
        for _ in 1..LEAST {
            assert_eq!(trap(&mut recovery), None);
            assert_eq!(recovery.check(), Ok(()));
        }
        assert_eq!(
            trap(&mut recovery),
            Some(Rest::Ratio { failed: LEAST.into(), calls: LEAST.into(), rest: FIRST_REST })
        );
        assert_eq!(recovery.check(), Err(CallError::Resting));
        assert_eq!(recovery.traps[TrapKind::Unreachable as usize], LEAST.into());
    }

    #[test]
    fn as_many_served_calls_as_traps_never_rest() {
        let mut recovery = Recovery::default();
        for _ in 0..LEAST * 10 {
            recovery.served();
            assert_eq!(trap(&mut recovery), None);
        }
    }

    #[test]
    fn a_burst_of_traps_is_weighed_against_what_was_served_before_it() {
        let mut recovery = Recovery::default();
        (0..1000).for_each(|_| recovery.served());
        // The window has ended meanwhile, and another is half over: so 1,000 served in the ten seconds before count by half.
        recovery.since -= WINDOW;
        assert_eq!(trap(&mut recovery), None);
        recovery.since -= WINDOW / 2;
        let first = (0..1000).find(|_| trap(&mut recovery).is_some());
        assert!(first.is_some_and(|traps| (480..=500).contains(&traps)), "{first:?}");
    }

    #[test]
    fn traps_of_long_ago_are_forgotten() {
        let mut recovery = Recovery::default();
        for _ in 0..LEAST * 3 {
            assert_eq!(trap(&mut recovery), None, "one in ten seconds");
            recovery.since -= WINDOW;
        }
    }
}
