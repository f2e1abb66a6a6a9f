use std::time::Duration;

use thiserror::Error;

use super::{Dict, DictError};

/// Stands before what is counted in the key of the entry that counts it.
const USED: &[u8] = b"used:";
/// Stands before the key of what counts: an entry that is there while all is not to be counted anew.
const COUNTED: &[u8] = b"counted:";
/// The least time between two counts of all entries because there are too many.
const COUNT_PERIOD: Duration = Duration::from_secs(1);

/// What stands before key and value in an entry of `lua_shared_dict`: the part of `ngx_rbtree_node_t` before its color, 32 bytes,
/// and of `ngx_http_lua_shdict_node_t` before its data, 36 bytes.
const HEADER: usize = 68;
/// The largest piece of a page that nginx's slab allocator gives; all of them have powers of 2. What is larger has pages.
const LARGEST_PIECE: usize = PAGE / 2;
const PAGE: usize = 4096;

/// How many bytes of the dict an entry takes whose key and value have so many.
pub fn entry_size(key: usize, value: usize) -> usize {
    let size = HEADER.saturating_add(key).saturating_add(value);
    if size <= LARGEST_PIECE { size.next_power_of_two() } else { size.saturating_add(PAGE - 1) / PAGE * PAGE }
}

/// How much of the dict something may have: in bytes, as [`entry_size`] has them, or in pieces of another kind.
///
/// It is counted in an entry of its own. That has too many when the dict drops entries, to make room or because their time is up:
/// before something is refused all is counted anew. So it is when the dict has dropped the entry that counts.
pub struct Quota {
    /// What sets the limit.
    option: &'static str,
    /// `None` for a share of the dict.
    limit: Option<usize>,
    /// What part of the dict is the limit then: one of so many.
    share: usize,
    /// [`COUNTED`], and the key of the entry that counts.
    key: Vec<u8>,
}

/// Something is too much.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{option} allows {limit} bytes, with it there would be {wanted}")]
pub struct OverQuota {
    pub option: &'static str,
    pub limit: usize,
    pub wanted: usize,
}

impl Quota {
    /// Of what `name` says, which `option` limits: to one of `share` parts of the dict unless there is a limit.
    pub fn new(option: &'static str, name: &[u8], limit: Option<usize>, share: usize) -> Self {
        Self { option, limit, share, key: [COUNTED, USED, name].concat() }
    }

    /// `count_all` counts anew what there is, and returns `None` when that can't be told now.
    ///
    /// # Errors
    /// When there may not be so many more.
    pub fn check(&self, dict: &dyn Dict, more: usize, count_all: impl Fn() -> Option<usize>) -> Result<(), OverQuota> {
        if more == 0 {
            return Ok(());
        }
        let limit = self.limit.unwrap_or_else(|| dict.capacity() / self.share);
        let used = dict.number(self.used()).map(|used| used as usize);
        let mut wanted = used.unwrap_or_default().saturating_add(more);
        if used.is_none() || wanted > limit && self.may_count_anew(dict) {
            let used = self.count_anew(dict, count_all).or(used).unwrap_or_default();
            wanted = used.saturating_add(more);
        }
        if wanted > limit { Err(OverQuota { option: self.option, limit, wanted }) } else { Ok(()) }
    }

    /// Counts that what was `old` is `new`. What the dict has no room to count is counted anew later.
    pub fn count(&self, dict: &dyn Dict, old: usize, new: usize) {
        if old != new
            && let Ok(used) = dict.incr(self.used(), new as f64 - old as f64, 0.0)
            && used < 0.0
        {
            dict.delete(self.used());
        }
    }

    fn used(&self) -> &[u8] {
        &self.key[COUNTED.len()..]
    }

    /// All processes together do so once in a period.
    #[cold]
    fn may_count_anew(&self, dict: &dyn Dict) -> bool {
        matches!(dict.add(&self.key, b"", 0, Some(COUNT_PERIOD)), Ok(true))
    }

    #[cold]
    fn count_anew(&self, dict: &dyn Dict, count_all: impl Fn() -> Option<usize>) -> Option<usize> {
        let used = count_all()?;
        let _: Result<(), DictError> = dict.set_number(self.used(), used as f64);
        Some(used)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{super::InProcess, *};

    fn over(limit: usize, wanted: usize) -> Result<(), OverQuota> {
        Err(OverQuota { option: "a_limit", limit, wanted })
    }

    #[test]
    fn an_entry_takes_what_nginx_allocates_for_it() {
        for (key, value, size) in
            [(1, 0, 128), (30, 30, 128), (30, 31, 256), (1, 1979, 2048), (1, 1980, 4096), (1, 4028, 8192)]
        {
            assert_eq!(entry_size(key, value), size, "{key} + {value}");
        }
    }

    #[test]
    fn what_is_dropped_by_the_dict_is_not_counted_for_ever() {
        let (dict, all) = (InProcess::new(1 << 20), Cell::new(0));
        let quota = Quota::new("a_limit", b"of:", Some(10), 1);
        let check = |more| quota.check(&dict, more, || Some(all.get()));
        assert_eq!(check(1), Ok(()));
        quota.count(&dict, 0, 4);
        all.set(4);
        assert_eq!(check(6), Ok(()));
        assert_eq!(check(7), over(10, 11));
        all.set(0);
        assert_eq!(check(7), over(10, 11), "all is counted once in a period");
        dict.delete(&quota.key);
        assert_eq!(check(10), Ok(()));
        assert_eq!(check(11), over(10, 11));
    }

    #[test]
    fn a_count_that_the_dict_has_dropped_does_not_begin_at_0() {
        let dict = InProcess::new(1 << 20);
        let quota = Quota::new("a_limit", b"of:", Some(10), 1);
        assert_eq!(quota.check(&dict, 1, || Some(10)), over(10, 11));
        assert_eq!(quota.check(&dict, 1, || None), over(10, 11));
        dict.delete(quota.used());
        assert_eq!(quota.check(&dict, 10, || None), Ok(()));
        quota.count(&dict, 5, 0);
        assert_eq!(quota.check(&dict, 1, || Some(10)), over(10, 11), "fewer than none");
    }

    #[test]
    fn without_a_limit_it_is_a_share_of_the_dict() {
        let dict = InProcess::new(1000);
        let quota = Quota::new("a_limit", b"of:", None, 4);
        assert_eq!(quota.check(&dict, 250, || Some(0)), Ok(()));
        assert_eq!(quota.check(&dict, 251, || Some(0)), over(250, 251));
    }
}
