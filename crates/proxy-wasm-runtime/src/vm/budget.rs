use std::time::{Duration, Instant};

/// What one use counts at most: a machine that stood still meanwhile is not the plugin's doing.
const LONGEST_USE: Duration = Duration::from_secs(6);

/// A share of each second. What is used beyond it has to be waited for; a second's worth may be used at once.
pub(crate) struct Budget {
    /// At most a second.
    share: Duration,
    /// What has been used and not come back, at `since`.
    used: Duration,
    since: Instant,
}

impl Budget {
    /// `share` of each second, at least a millisecond.
    pub fn new(share: Duration) -> Self {
        Self { share: share.max(Duration::from_millis(1)), used: Duration::ZERO, since: Instant::now() }
    }

    /// The time since `start` was used.
    pub fn spend(&mut self, start: Instant) {
        let now = Instant::now();
        self.used = self.used_at(now) + now.saturating_duration_since(start).min(LONGEST_USE);
        self.since = now;
    }

    /// How long nothing may be used; `None` when something may.
    pub fn rest(&self) -> Option<Duration> {
        let debt = self.used_at(Instant::now()).saturating_sub(self.share);
        (!debt.is_zero()).then(|| debt.div_f64(self.share.as_secs_f64()))
    }

    fn used_at(&self, now: Instant) -> Duration {
        let back = now.saturating_duration_since(self.since).mul_f64(self.share.as_secs_f64());
        self.used.saturating_sub(back)
    }

    /// Lets time pass.
    #[cfg(test)]
    pub fn pass(&mut self, time: Duration) {
        self.since -= time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_is_used_beyond_the_share_of_a_second_is_waited_for_at_the_same_rate() {
        let mut budget = Budget::new(ms(500));
        budget.spend(Instant::now() - ms(400));
        assert_eq!(budget.rest(), None);
        budget.spend(Instant::now() - ms(5100));
        let rest = budget.rest().unwrap();
        assert!(rest > ms(9900) && rest <= ms(10_001), "{rest:?}");
        budget.pass(ms(9000));
        assert!(budget.rest().is_some());
        budget.pass(ms(1100));
        assert_eq!(budget.rest(), None);
    }

    #[test]
    fn a_machine_that_stood_still_is_not_paid_for() {
        let mut budget = Budget::new(ms(500));
        budget.spend(Instant::now() - Duration::from_secs(600));
        assert!(budget.rest().unwrap() <= ms(11_000));
    }

    #[test]
    fn time_that_was_not_used_is_not_saved_up() {
        let mut budget = Budget::new(ms(500));
        budget.pass(Duration::from_secs(3600));
        budget.spend(Instant::now() - ms(1500));
        assert!(budget.rest().unwrap() > ms(1900));
    }
}
