//! What plugins share with each other, in all processes of the proxy: shared data, queues, metrics. All of it is kept in one
//! [`Dict`].

mod host_metrics;
mod in_process;
mod lock;
mod metrics;
mod prometheus;
pub(crate) mod queues;
mod quota;
mod shared_data;

use std::time::Duration;

use thiserror::Error;

pub(crate) use host_metrics::HostMetrics;
pub use host_metrics::StatusMetrics;
pub use in_process::InProcess;
pub(crate) use metrics::{MetricError, Metrics};
pub use prometheus::prometheus;
pub(crate) use shared_data::{SetError, SharedData};

/// The longest key of an entry, in bytes.
pub const LONGEST_KEY: usize = 65535;

/// A dictionary that all processes of the proxy see, with the operations of nginx's `lua_shared_dict`. Each is atomic. An entry
/// is bytes with flags, or a number; when there is no room, those go that were not used for longest.
pub trait Dict: Send + Sync {
    /// Puts an entry's bytes into `value`, in the place of what it holds, and returns the flags; `None` when there is no such
    /// entry, or it is a number.
    fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Option<u32>;

    /// Stores bytes, for the time `ttl` or as long as there is room.
    ///
    /// # Errors
    /// When they can't be stored. An entry that had the key is gone then.
    fn set(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<(), DictError>;

    /// Stores bytes unless there is an entry with the key, and returns whether it did.
    ///
    /// # Errors
    /// When they can't be stored.
    fn add(&self, key: &[u8], value: &[u8], flags: u32, ttl: Option<Duration>) -> Result<bool, DictError>;

    /// A number; `None` when there is no such entry, or it is bytes.
    fn number(&self, key: &[u8]) -> Option<f64>;

    /// Stores a number.
    ///
    /// # Errors
    /// When it can't be stored.
    fn set_number(&self, key: &[u8], number: f64) -> Result<(), DictError>;

    /// Adds `by` to a number, or to `init` when there is no such entry, and returns the sum.
    ///
    /// # Errors
    /// When it can't be stored, or the entry is bytes.
    fn incr(&self, key: &[u8], by: f64, init: f64) -> Result<f64, DictError>;

    /// Removes an entry, if there is one.
    fn delete(&self, key: &[u8]);

    /// How many bytes it has for everything.
    fn capacity(&self) -> usize;

    /// The keys of all entries that begin with `prefix`; `None` when they can't be told now. It takes long.
    fn keys(&self, prefix: &[u8]) -> Option<Vec<Vec<u8>>>;
}

/// What stands in keys and names before those of a `vm_id`. None is the beginning of another.
fn owner_of(vm_id: &str) -> Vec<u8> {
    format!("{}:{vm_id}:", vm_id.len()).into_bytes()
}

/// Splits what [`owner_of`] has made from what stands behind it, and returns the `vm_id` and that.
fn split_owner(named: &[u8]) -> Option<(&str, &[u8])> {
    let colon = named.iter().position(|byte| *byte == b':')?;
    let length = std::str::from_utf8(&named[..colon]).ok()?.parse().ok()?;
    let (vm_id, rest) = named[colon + 1..].split_at_checked(length)?;
    Some((std::str::from_utf8(vm_id).ok()?, rest.strip_prefix(b":")?))
}

/// Why a [`Dict`] refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DictError {
    /// The value has no room, even in place of others.
    #[error("there is no room for it")]
    NoRoom,
    /// The key is not one that a dict can have.
    #[error("its key must have 1 to {LONGEST_KEY} bytes, but has {0}")]
    BadKey(usize),
    /// Bytes can't be added to.
    #[error("it is not a number")]
    NotANumber,
}

impl DictError {
    /// # Errors
    /// When `key` is not one that a dict can have.
    pub fn check_key(key: &[u8]) -> Result<(), Self> {
        if key.is_empty() || key.len() > LONGEST_KEY { Err(Self::BadKey(key.len())) } else { Ok(()) }
    }
}
