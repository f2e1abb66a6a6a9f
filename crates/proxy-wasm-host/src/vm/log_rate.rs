use std::time::{Duration, Instant};

/// Lets a guest log so many messages in a second, or twice as many once, and counts the others. The clock is looked at only when
/// there are that many.
pub(crate) struct LogRate {
    most: u32,
    since: Instant,
    logged: u32,
    suppressed: u64,
}

impl LogRate {
    pub fn new(most: u32) -> Self {
        Self { most, since: Instant::now(), logged: 0, suppressed: 0 }
    }

    /// Whether one more message may be logged; if so, how many were suppressed before it.
    #[inline]
    pub fn admit(&mut self) -> Option<u64> {
        if self.logged < self.most {
            self.logged += 1;
            return Some(0);
        }
        self.admit_next_second()
    }

    #[cold]
    fn admit_next_second(&mut self) -> Option<u64> {
        if self.since.elapsed() < Duration::from_secs(1) {
            self.suppressed += 1;
            return None;
        }
        self.since = Instant::now();
        self.logged = 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_messages_in_a_second_are_counted_and_told_of_with_the_next_that_is_logged() {
        let mut rate = LogRate::new(2);
        assert_eq!([rate.admit(), rate.admit(), rate.admit(), rate.admit()], [Some(0), Some(0), None, None]);
        rate.since -= Duration::from_secs(1);
        assert_eq!([rate.admit(), rate.admit(), rate.admit()], [Some(2), Some(0), None]);
    }
}
