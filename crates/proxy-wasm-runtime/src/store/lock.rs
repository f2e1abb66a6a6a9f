use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Dict, DictError};

/// How long a lock is held at most: a process that dies while it holds one does not let the others wait for longer.
const TTL: Duration = Duration::from_secs(1);

/// A lock that all processes respect: an entry in the dict.
pub struct Lock<'a> {
    dict: &'a dyn Dict,
    key: &'a [u8],
    taken: Instant,
}

impl<'a> Lock<'a> {
    /// Waits for the lock and takes it. It is meant for some microseconds.
    ///
    /// # Errors
    /// When the dict has no room for the entry.
    pub fn take(dict: &'a dyn Dict, key: &'a [u8]) -> Result<Self, DictError> {
        let mut tries = 0;
        loop {
            let taken = Instant::now();
            if dict.add(key, b"1", 0, Some(TTL))? {
                return Ok(Self { dict, key, taken });
            }
            match tries {
                0..16 => std::hint::spin_loop(),
                16..32 => thread::yield_now(),
                _ => thread::sleep(Duration::from_micros(50)),
            }
            tries += 1;
        }
    }

    /// Whether the lock is still this one's, with enough time left for an operation: a process may be stopped while it holds it.
    pub fn is_held(&self) -> bool {
        self.taken.elapsed() < TTL / 2
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if self.is_held() {
            self.dict.delete(self.key);
        }
    }
}
