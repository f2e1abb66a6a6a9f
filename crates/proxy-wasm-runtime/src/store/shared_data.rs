use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use super::{
    Dict, DictError,
    lock::Lock,
    owner_of,
    quota::{OverQuota, Quota, entry_size},
};
use crate::context::Options;

/// Stands before an entry's key in that of its lock.
const LOCK: &str = "lock:";
/// A plugin's part of the dict, unless `shared_data_limit` says another: a quarter.
const SHARE: usize = 4;
/// The entry that counts changes: where the cas of a value comes from.
const CHANGES: &[u8] = b"changes";

/// The shared data of a plugin's virtual machine: that of all plugins with its `vm_id`.
///
/// An entry's flags are its cas, never 0. A change takes the entry's lock, because a dict can't compare and set.
pub struct SharedData {
    /// [`LOCK`], what the keys of the `vm_id` begin with, and the key of the last call.
    key: Vec<u8>,
    prefix: usize,
    ttl: Option<Duration>,
    quota: Quota,
    /// The value that was read last.
    value: Vec<u8>,
}

/// Why a value was not set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SetError {
    #[error("the value has changed")]
    CasMismatch,
    #[error(transparent)]
    Quota(#[from] OverQuota),
    #[error(transparent)]
    Dict(#[from] DictError),
}

impl SharedData {
    pub fn new(options: &Options) -> Self {
        let key = [LOCK.as_bytes(), b"data:", &owner_of(&options.vm_id)].concat();
        Self {
            prefix: key.len(),
            quota: Quota::new("shared_data_limit", &key[LOCK.len()..], options.shared_data_limit, SHARE),
            key,
            ttl: options.shared_data_ttl,
            value: Vec::new(),
        }
    }

    /// The value of a key, and its cas. [`Self::recycle`] takes the value back.
    pub fn get(&mut self, dict: &dyn Dict, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.choose(key);
        let cas = dict.get(&self.key[LOCK.len()..], &mut self.value)?;
        Some((std::mem::take(&mut self.value), cas))
    }

    /// Takes back the memory of a value for the next one.
    pub fn recycle(&mut self, value: Vec<u8>) {
        self.value = value;
    }

    /// Sets a value, or without one deletes the key: if its cas is `cas`, if there is none, or in any case when `cas` is 0.
    ///
    /// # Errors
    /// When the cas is another one, or the `vm_id` would have more than it may have; when the dict has no room for the value, the
    /// old one is gone then.
    pub fn set(&mut self, dict: &dyn Dict, key: &[u8], value: Option<&[u8]>, cas: u32) -> Result<(), SetError> {
        self.choose(key);
        let entry = &self.key[LOCK.len()..];
        loop {
            let lock = Lock::take(dict, &self.key)?;
            let stored = dict.get(entry, &mut self.value);
            if cas != 0 && stored.is_some_and(|stored| stored != cas) {
                return Err(SetError::CasMismatch);
            }
            let old_size = stored.map_or(0, |_| entry_size(entry.len(), self.value.len()));
            let new_size = value.map_or(0, |value| entry_size(entry.len(), value.len()));
            let prefix = &self.key[LOCK.len()..self.prefix];
            self.quota.check(dict, new_size.saturating_sub(old_size), || size_of_all(dict, prefix))?;
            let next = next_cas(dict)?;
            if !lock.is_held() {
                continue;
            }
            let result = match value {
                Some(value) => dict.set(entry, value, next, self.ttl),
                None => {
                    dict.delete(entry);
                    Ok(())
                }
            };
            self.quota.count(dict, old_size, if result.is_ok() { new_size } else { 0 });
            return Ok(result?);
        }
    }

    fn choose(&mut self, key: &[u8]) {
        self.key.truncate(self.prefix);
        self.key.extend_from_slice(key);
    }
}

/// How many bytes the entries take whose keys begin with `prefix`.
fn size_of_all(dict: &dyn Dict, prefix: &[u8]) -> Option<usize> {
    let mut value = Vec::new();
    let sizes = dict.keys(prefix)?.into_iter().filter_map(|key| {
        dict.get(&key, &mut value)?;
        Some(entry_size(key.len(), value.len()))
    });
    Some(sizes.sum())
}

/// One that no value has had for 2³² changes. All keys count together, so that one that is deleted and set does not repeat its own.
fn next_cas(dict: &dyn Dict) -> Result<u32, DictError> {
    // Where a count begins that the dict has lost.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changes = dict.incr(CHANGES, 1.0, f64::from(now.subsec_micros()) * 4096.0)?;
    Ok((changes % f64::from(u32::MAX)) as u32 + 1)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use proptest::prelude::*;

    use super::{super::InProcess, *};

    fn shared_data(vm_id: &str) -> SharedData {
        let options = Options::new("plugin");
        SharedData::new(&Options { vm_id: vm_id.into(), shared_data_limit: Some(usize::MAX), ..options })
    }

    fn dict() -> InProcess {
        InProcess::new(1 << 20)
    }

    #[test]
    fn a_value_is_set_when_its_cas_is_the_one_that_was_seen() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.set(&dict, b"key", Some(b"one"), 0).unwrap();
        let (_, first) = data.get(&dict, b"key").unwrap();
        data.set(&dict, b"key", Some(b"two"), first).unwrap();
        assert_eq!(data.set(&dict, b"key", Some(b"three"), first), Err(SetError::CasMismatch));
        let (value, second) = data.get(&dict, b"key").unwrap();
        assert_eq!(value, b"two");
        assert_ne!(first, second);
        data.set(&dict, b"key", Some(b"four"), 0).unwrap();
        assert_eq!(data.get(&dict, b"key").unwrap().0, b"four");
    }

    #[test]
    fn any_cas_will_do_for_a_key_that_is_missing() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.set(&dict, b"key", Some(b"value"), 4711).unwrap();
        assert_eq!(data.get(&dict, b"key").unwrap().0, b"value");
        data.set(&dict, b"other", None, 4711).unwrap();
        assert_eq!(data.get(&dict, b"other"), None);
    }

    #[test]
    fn a_key_that_was_deleted_and_set_has_another_cas() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.set(&dict, b"key", Some(b"value"), 0).unwrap();
        let (_, cas) = data.get(&dict, b"key").unwrap();
        assert_eq!(data.set(&dict, b"key", None, cas.wrapping_add(1)), Err(SetError::CasMismatch));
        data.set(&dict, b"key", None, cas).unwrap();
        assert_eq!(data.get(&dict, b"key"), None);
        data.set(&dict, b"key", Some(b"value"), 0).unwrap();
        assert_eq!(data.set(&dict, b"key", Some(b"late"), cas), Err(SetError::CasMismatch));
    }

    #[test]
    fn the_cas_wraps_past_zero() {
        let dict = dict();
        dict.set_number(CHANGES, f64::from(u32::MAX) - 3.0).unwrap();
        let cas: Vec<u32> = (0..4).map(|_| next_cas(&dict).unwrap()).collect();
        assert_eq!(cas, [u32::MAX - 1, u32::MAX, 1, 2]);
    }

    #[test]
    fn plugins_share_by_vm_id_however_that_is_written() {
        let dict = dict();
        shared_data("vm").set(&dict, b"1:key", Some(b"vm"), 0).unwrap();
        shared_data("vm:1").set(&dict, b"key", Some(b"vm:1"), 0).unwrap();
        assert_eq!(shared_data("vm").get(&dict, b"1:key").unwrap().0, b"vm");
        assert_eq!(shared_data("vm").get(&dict, b"key"), None);
        assert_eq!(shared_data("vm:1").get(&dict, b"key").unwrap().0, b"vm:1");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.set(&dict, b"key", Some(b"old"), 0).unwrap();
        assert_eq!(data.set(&dict, b"key", Some(&[0; 1 << 20]), 0), Err(SetError::Dict(DictError::NoRoom)));
        assert!(matches!(data.set(&dict, &[0; 65535], Some(b""), 0), Err(SetError::Dict(DictError::BadKey(_)))));
        assert_eq!(data.get(&dict, &[0; 65535]), None);
    }

    #[test]
    fn a_value_goes_when_its_time_is_up() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.ttl = Some(Duration::ZERO);
        data.set(&dict, b"key", Some(b"value"), 0).unwrap();
        assert_eq!(data.get(&dict, b"key"), None);
    }

    #[test]
    fn no_increment_is_lost_between_threads() {
        const THREADS: usize = 8;
        const INCREMENTS: usize = 500;
        let dict = dict();
        let increment = |data: &mut SharedData| loop {
            let (count, cas) = data.get(&dict, b"count").unwrap();
            let count = u64::from_le_bytes(count.try_into().unwrap());
            if data.set(&dict, b"count", Some(&(count + 1).to_le_bytes()), cas).is_ok() {
                break;
            }
        };
        shared_data("vm").set(&dict, b"count", Some(&0_u64.to_le_bytes()), 0).unwrap();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut data = shared_data("vm");
                    (0..INCREMENTS).for_each(|_| increment(&mut data));
                });
            }
        });
        let count = shared_data("vm").get(&dict, b"count").unwrap().0;
        assert_eq!(u64::from_le_bytes(count.try_into().unwrap()), (THREADS * INCREMENTS) as u64);
    }

    #[test]
    fn the_lock_of_a_process_that_died_is_waited_for_no_longer_than_it_lasts() {
        let (dict, mut data) = (dict(), shared_data("vm"));
        data.choose(b"key");
        dict.add(&data.key, b"1", 0, Some(Duration::from_millis(20))).unwrap();
        data.set(&dict, b"key", Some(b"value"), 0).unwrap();
        assert_eq!(data.get(&dict, b"key").unwrap().0, b"value");
    }

    proptest! {
        /// Any sequence of calls has the results of a map.
        #[test]
        fn one_virtual_machine_sees_a_map(
            calls in proptest::collection::vec((0..4_u8, any::<Option<u8>>(), 0..3_u8), 0..64)
        ) {
            let (dict, mut data) = (dict(), shared_data("vm"));
            let mut expected: HashMap<u8, u8> = HashMap::new();
            for (key, value, with_cas) in calls {
                let found = data.get(&dict, &[key]);
                prop_assert_eq!(found.as_ref().map(|(value, _)| value.as_slice()), expected.get(&key).map(std::slice::from_ref));
                let stored = found.map_or(7, |(_, cas)| cas);
                prop_assert!(stored != 0);
                let cas = [0, stored, stored.wrapping_add(1).max(1)][usize::from(with_cas)];
                let result = data.set(&dict, &[key], value.as_ref().map(std::slice::from_ref), cas);
                if with_cas == 2 && expected.contains_key(&key) {
                    prop_assert_eq!(result, Err(SetError::CasMismatch));
                    continue;
                }
                prop_assert_eq!(result, Ok(()));
                match value {
                    Some(value) => _ = expected.insert(key, value),
                    None => _ = expected.remove(&key),
                }
            }
        }
    }
}
