//! What the guest remembers of its callouts, until the answer comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// How many callouts are remembered.
const REMEMBERED: usize = 1000;

struct Callout {
    /// `auth` of `http_call[auth]`, or empty.
    label: String,
    /// The stream context it was made in, or 0.
    stream: i32,
}

thread_local! {
    /// By token.
    static CALLOUTS: RefCell<BTreeMap<i32, Callout>> = RefCell::default();
}

/// `$token`: of the callout that was made last, or that is answered.
pub static TOKEN: AtomicI32 = AtomicI32::new(0);
/// `$stream`: the stream context that runs, or that made the callout which is answered; else 0.
pub static STREAM: AtomicI32 = AtomicI32::new(0);

pub fn remember(token: i32, label: &str, stream: i32) {
    TOKEN.store(token, Relaxed);
    CALLOUTS.with_borrow_mut(|callouts| {
        callouts.insert(token, Callout { label: label.into(), stream });
        if callouts.len() > REMEMBERED {
            callouts.pop_first();
        }
    });
}

/// Sets `$token` and `$stream` for the callback of an answer, and says the label of its callout.
pub fn answered(token: i32) -> String {
    TOKEN.store(token, Relaxed);
    CALLOUTS.with_borrow(|callouts| {
        let callout = callouts.get(&token);
        STREAM.store(callout.map_or(0, |callout| callout.stream), Relaxed);
        callout.map(|callout| callout.label.clone()).unwrap_or_default()
    })
}

/// The token of the youngest callout with this label.
pub fn token_of(label: &str) -> Option<i32> {
    CALLOUTS.with_borrow(|callouts| {
        callouts.iter().rev().find(|(_, callout)| callout.label == label).map(|(&token, _)| token)
    })
}
