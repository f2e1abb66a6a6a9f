use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// So many bytes more of a message count as one more.
const USUAL_SIZE: usize = 1024;

/// Lets so many messages in a second be logged, or twice as many once, and counts the others. A long one counts as several. The
/// clock is looked at only when there are that many.
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

    /// Whether one more message, of `size` bytes, may be logged; if so, how many were suppressed before it.
    #[inline]
    pub fn admit(&self, size: usize) -> Option<u64> {
        let count = 1 + u32::try_from(size / USUAL_SIZE).unwrap_or(u32::MAX >> 1);
        if self.logged.get() < self.most {
            self.logged.set(self.logged.get().saturating_add(count));
            return Some(0);
        }
        self.admit_next_second(count)
    }

    #[cold]
    fn admit_next_second(&self, count: u32) -> Option<u64> {
        if self.since.get().elapsed() < Duration::from_secs(1) {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.since.set(Instant::now());
        self.logged.set(count);
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_messages_in_a_second_are_counted_and_told_of_with_the_next_that_is_logged() {
        let rate = LogRate::new(2);
        assert_eq!([rate.admit(0), rate.admit(1), rate.admit(2), rate.admit(3)], [Some(0), Some(0), None, None]);
        rate.since.set(rate.since.get() - Duration::from_secs(1));
        assert_eq!([rate.admit(0), rate.admit(0), rate.admit(0)], [Some(2), Some(0), None]);
    }

    #[test]
    fn a_long_message_counts_as_several() {
        let rate = LogRate::new(10);
        assert_eq!([rate.admit(8 * 1024 - 1), rate.admit(2048), rate.admit(0)], [Some(0), Some(0), None]);
    }
}
