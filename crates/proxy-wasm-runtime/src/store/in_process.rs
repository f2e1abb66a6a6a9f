use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Dict, DictError, quota::entry_size};

/// A dictionary of one process.
pub struct InProcess {
    entries: Mutex<Entries>,
    capacity: usize,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Arc<[u8]>, Entry>,
    /// The keys, those first that were not used for longest.
    by_use: BTreeMap<u64, Arc<[u8]>>,
    uses: u64,
    /// What all entries cost.
    size: usize,
}

struct Entry {
    value: Value,
    flags: u32,
    expires: Option<Instant>,
    /// Its key in `by_use`.
    used: u64,
}

enum Value {
    Bytes(Vec<u8>),
    Number(f64),
}

impl InProcess {
    /// An empty dictionary for this many bytes, with what the entries cost.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }
}

impl Dict for InProcess {
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Option<u32> {
        match self.entries.lock().find(key)? {
            Entry { value: Value::Bytes(bytes), flags, .. } => {
                value.clone_from(bytes);
                Some(*flags)
            }
            _ => None,
        }
    }

    fn set(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<(), DictError> {
        self.entries.lock().store(key, Value::Bytes(value.to_vec()), flags, ttl, self.capacity)
    }

    fn add(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<bool, DictError> {
        let mut entries = self.entries.lock();
        if entries.find(key).is_some() {
            return Ok(false);
        }
        entries.store(key, Value::Bytes(value.to_vec()), flags, ttl, self.capacity).map(|()| true)
    }

    fn number(&self, key: &[u8]) -> Option<f64> {
        match self.entries.lock().find(key)?.value {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    fn set_number(&self, key: &[u8], number: f64) -> Result<(), DictError> {
        self.entries.lock().store(key, Value::Number(number), 0, None, self.capacity)
    }

    fn incr(&self, key: &[u8], by: f64, init: f64) -> Result<f64, DictError> {
        let mut entries = self.entries.lock();
        match entries.find(key) {
            Some(Entry { value: Value::Number(number), .. }) => {
                *number += by;
                Ok(*number)
            }
            Some(_) => Err(DictError::NotANumber),
            None => {
                let sum = init + by;
                entries.store(key, Value::Number(sum), 0, None, self.capacity).map(|()| sum)
            }
        }
    }

    fn delete(&self, key: &[u8]) {
        self.entries.lock().remove(key);
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn keys(&self, prefix: &[u8]) -> Option<Vec<Vec<u8>>> {
        let now = Instant::now();
        let entries = self.entries.lock();
        let live = entries.by_key.iter().filter(|(_, entry)| entry.expires.is_none_or(|expires| expires > now));
        Some(live.filter(|(key, _)| key.starts_with(prefix)).map(|(key, _)| key.to_vec()).collect())
    }
}

impl Entries {
    /// The entry, which is used thereby.
    fn find(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let expires = self.by_key.get(key)?.expires;
        if expires.is_some_and(|expires| expires <= Instant::now()) {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let entry = self.by_key.get_mut(key)?;
        let key = self.by_use.remove(&entry.used)?;
        self.by_use.insert(self.uses, key);
        entry.used = self.uses;
        Some(entry)
    }

    fn store(
        &mut self,
        key: &[u8],
        value: Value,
        flags: u32,
        ttl: Option<Duration>,
        capacity: usize,
    ) -> Result<(), DictError> {
        DictError::check_key(key)?;
        self.remove(key);
        let size = cost(key, &value);
        if size > capacity {
            return Err(DictError::NoRoom);
        }
        while self.size + size > capacity {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.uses += 1;
        let key: Arc<[u8]> = key.into();
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        self.by_use.insert(self.uses, key.clone());
        self.by_key.insert(key, Entry { value, flags, expires, used: self.uses });
        self.size += size;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_use.remove(&entry.used);
            self.size -= cost(key, &entry.value);
        }
    }
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Number(_) => size_of::<f64>(),
        }
    }
}

fn cost(key: &[u8], value: &Value) -> usize {
    entry_size(key.len(), value.size())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(dict: &InProcess, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        let mut value = b"what was there before".to_vec();
        dict.get(key, &mut value).map(|flags| (value, flags))
    }

    #[test]
    fn an_entry_is_replaced_added_once_and_deleted() {
        let dict = InProcess::new(10_000);
        assert_eq!(value(&dict, b"key"), None);
        dict.set(b"key", b"value", 7, None).unwrap();
        assert_eq!(value(&dict, b"key"), Some((b"value".to_vec(), 7)));
        assert_eq!(dict.add(b"key", b"other", 8, None), Ok(false));
        dict.set(b"key", b"", 0, None).unwrap();
        assert_eq!(value(&dict, b"key"), Some((Vec::new(), 0)));
        dict.delete(b"key");
        assert_eq!(value(&dict, b"key"), None);
        assert_eq!(dict.add(b"key", b"other", 8, None), Ok(true));
    }

    #[test]
    fn numbers_and_bytes_are_different_things() {
        let dict = InProcess::new(10_000);
        assert_eq!(dict.incr(b"n", 2.0, 40.0), Ok(42.0));
        assert_eq!(dict.incr(b"n", -2.5, 0.0), Ok(39.5));
        assert_eq!(value(&dict, b"n"), None);
        dict.set_number(b"n", 1.0).unwrap();
        assert_eq!(dict.number(b"n"), Some(1.0));
        dict.set(b"n", b"1", 0, None).unwrap();
        assert_eq!(dict.number(b"n"), None);
        assert_eq!(dict.incr(b"n", 1.0, 0.0), Err(DictError::NotANumber));
    }

    #[test]
    fn an_entry_goes_when_its_time_is_up() {
        let dict = InProcess::new(10_000);
        dict.set(b"key", b"value", 0, Some(Duration::ZERO)).unwrap();
        assert_eq!(value(&dict, b"key"), None);
        dict.set(b"key", b"value", 0, Some(Duration::ZERO)).unwrap();
        assert_eq!(dict.add(b"key", b"other", 0, Some(Duration::MAX)), Ok(true));
        assert!(value(&dict, b"key").is_some());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let dict = InProcess::new(3 * entry_size(1, 1));
        for key in [b"a", b"b", b"c"] {
            dict.set(key, b"1", 0, None).unwrap();
        }
        assert!(value(&dict, b"a").is_some());
        dict.set(b"d", b"1", 0, None).unwrap();
        assert_eq!(value(&dict, b"b"), None);
        assert!(value(&dict, b"a").is_some() && value(&dict, b"c").is_some() && value(&dict, b"d").is_some());
        let entries = dict.entries.lock();
        assert_eq!((entries.by_key.len(), entries.by_use.len(), entries.size), (3, 3, dict.capacity));
    }

    #[test]
    fn what_can_never_fit_is_refused() {
        let dict = InProcess::new(100_000);
        assert_eq!(dict.set(b"key", &[0; 100_000], 0, None), Err(DictError::NoRoom));
        assert_eq!(dict.set(&[0; 65536], b"", 0, None), Err(DictError::BadKey(65536)));
        assert_eq!(dict.set(b"", b"", 0, None), Err(DictError::BadKey(0)));
        assert_eq!(dict.set(&[0; 65535], b"", 0, None), Ok(()));
    }
}
