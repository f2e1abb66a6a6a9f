use std::time::{Duration, Instant};

use thiserror::Error;

use super::Dict;

/// Stands before the prefix of the entries in the key of what counts their bytes.
const BYTES: &[u8] = b"bytes:";
/// The least time between two counts of all entries.
const COUNT_PERIOD: Duration = Duration::from_secs(1);

/// What entries with one prefix may have together: bytes of values, and of keys without the prefix.
///
/// They are counted in an entry of their own. That has too many when the dict drops entries, to make room or because their time
/// is up: before a value is refused all entries are counted anew.
pub struct Quota {
    /// In bytes; `None` for half of the dict.
    limit: Option<usize>,
    /// The key of the entry that counts.
    key: Vec<u8>,
    /// When all were counted last.
    counted: Option<Instant>,
}

/// A value is too much.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("shared_data_limit allows {limit} bytes, with it there would be {wanted}")]
pub struct OverQuota {
    /// In bytes.
    pub limit: usize,
    /// In bytes.
    pub wanted: usize,
}

impl Quota {
    pub fn new(prefix: &[u8], limit: Option<usize>) -> Self {
        Self { limit, key: [BYTES, prefix].concat(), counted: None }
    }

    /// # Errors
    /// When there may not be `more` bytes.
    pub fn check(&mut self, dict: &dyn Dict, more: usize) -> Result<(), OverQuota> {
        if more == 0 {
            return Ok(());
        }
        let limit = self.limit.unwrap_or_else(|| dict.capacity() / 2);
        let mut wanted = self.wanted(dict, more);
        if wanted > limit && self.counted.is_none_or(|counted| counted.elapsed() >= COUNT_PERIOD) {
            self.count_anew(dict);
            wanted = self.wanted(dict, more);
        }
        if wanted > limit { Err(OverQuota { limit, wanted }) } else { Ok(()) }
    }

    /// Counts that an entry which had `old` bytes has `new`. What the dict has no room to count is counted anew later.
    pub fn count(&self, dict: &dyn Dict, old: usize, new: usize) {
        if old != new {
            let _ = dict.incr(&self.key, new as f64 - old as f64, 0.0);
        }
    }

    fn wanted(&self, dict: &dyn Dict, more: usize) -> usize {
        (dict.number(&self.key).unwrap_or_default() as usize).saturating_add(more)
    }

    #[cold]
    fn count_anew(&mut self, dict: &dyn Dict) {
        self.counted = Some(Instant::now());
        if let Some(size) = dict.size(&self.key[BYTES.len()..]) {
            let _ = dict.set_number(&self.key, size as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::InProcess, *};

    #[test]
    fn what_is_dropped_by_the_dict_is_not_counted_for_ever() {
        let dict = InProcess::new(1 << 20);
        let mut quota = Quota::new(b"data:", Some(10));
        dict.set(b"data:a", b"123", 0, None).unwrap();
        dict.set(b"other:a", b"123456789", 0, None).unwrap();
        quota.count(&dict, 0, 4);
        assert_eq!(quota.check(&dict, 6), Ok(()));
        assert_eq!(quota.check(&dict, 7), Err(OverQuota { limit: 10, wanted: 11 }));
        dict.delete(b"data:a");
        quota.counted = None;
        assert_eq!(quota.check(&dict, 10), Ok(()));
        assert_eq!(quota.check(&dict, 11), Err(OverQuota { limit: 10, wanted: 11 }));
    }

    #[test]
    fn nobody_may_have_more_than_half_of_the_dict_unless_it_is_said() {
        let dict = InProcess::new(1000);
        assert_eq!(Quota::new(b"data:", None).check(&dict, 500), Ok(()));
        assert_eq!(Quota::new(b"data:", None).check(&dict, 501), Err(OverQuota { limit: 500, wanted: 501 }));
    }
}
