use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Lets so many messages in a second be logged, or twice as many once, and counts the others. The clock is looked at only when
/// there are that many.
pub struct LogRate {
    most: u32,
    since: Cell<Instant>,
    logged: Cell<u32>,
    suppressed: Cell<u64>,
}

impl LogRate {
    /// `most` messages in a second, at least 1.
    pub fn new(most: u32) -> Self {
        Self { most, since: Cell::new(Instant::now()), logged: Cell::new(0), suppressed: Cell::new(0) }
    }

    /// Whether one more message may be logged; if so, how many were suppressed before it.
    #[inline]
    pub fn admit(&self) -> Option<u64> {
        if self.logged.get() < self.most {
            self.logged.set(self.logged.get() + 1);
            return Some(0);
        }
        self.admit_next_second()
    }

    #[cold]
    fn admit_next_second(&self) -> Option<u64> {
        if self.since.get().elapsed() < Duration::from_secs(1) {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.since.set(Instant::now());
        self.logged.set(1);
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_messages_in_a_second_are_counted_and_told_of_with_the_next_that_is_logged() {
        let rate = LogRate::new(2);
        assert_eq!([rate.admit(), rate.admit(), rate.admit(), rate.admit()], [Some(0), Some(0), None, None]);
        rate.since.set(rate.since.get() - Duration::from_secs(1));
        assert_eq!([rate.admit(), rate.admit(), rate.admit()], [Some(2), Some(0), None]);
    }
}
