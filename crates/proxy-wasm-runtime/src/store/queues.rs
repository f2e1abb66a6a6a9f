//! Queues that plugins share: the oldest message first, in all processes.
//!
//! An entry of the dict says which messages a queue has; each of them is an entry of its own. One that the dict has lost is
//! skipped. All entries of the queues of a `vm_id` have a quota, whoever puts messages into them.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    Dict, DictError,
    lock::Lock,
    owner_of,
    quota::{OverQuota, Quota, entry_size},
    split_owner,
};

/// How many messages a queue can have. What a plugin can't handle must not take the room of everything else.
pub const CAPACITY: u64 = 65536;
/// The part of the dict for the queues of one `vm_id`, unless `shared_queue_limit` says another: an eighth.
const SHARE: usize = 8;
/// Stands before a `vm_id` in the key of the entry that has the limit.
const LIMIT: &[u8] = b"queue-limit:";
/// Stands before an id in the key of a queue's entry.
const QUEUE: &str = "queue:";
/// Stands before a queue's id and a number in the key of a message's entry.
const MESSAGE: &str = "message:";

/// Why something was not done to a queue.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QueueError {
    #[error("there is no such queue")]
    NotFound,
    #[error("the queue is full: it has {CAPACITY} messages")]
    Full,
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    #[error(transparent)]
    Dict(#[from] DictError),
}

/// Opens a queue, or creates it, and returns its id, > 0. The queues of its `vm_id` may take `limit` bytes of the dict from now on.
///
/// # Errors
/// When that or the dict has no room for it.
pub fn register(dict: &dyn Dict, vm_id: &str, limit: Option<usize>, name: &[u8]) -> Result<u32, QueueError> {
    set_limit(dict, vm_id, limit)?;
    let name = full_name(vm_id, name);
    loop {
        let (id, exists) = find(dict, &name);
        if exists {
            return Ok(id);
        }
        let queue = Queue { name: name.clone(), ..Queue::default() };
        let (key, entry, quota) = (queue_key(id), queue.encode(), queue.quota(dict));
        let size = entry_size(key.len(), entry.len());
        quota.check(dict, size, || size_of_all(dict, vm_id))?;
        // Another process may have been faster, with this name or another one.
        if dict.add(&key, &entry, 0, None)? {
            quota.count(dict, 0, size);
            return Ok(id);
        }
    }
}

/// The id of a queue, if there is one.
pub fn resolve(dict: &dyn Dict, vm_id: &str, name: &[u8]) -> Option<u32> {
    let (id, exists) = find(dict, &full_name(vm_id, name));
    exists.then_some(id)
}

/// Puts a message at the end.
///
/// # Errors
/// When there is no such queue, or no room.
pub fn enqueue(dict: &dyn Dict, id: u32, message: &[u8]) -> Result<(), QueueError> {
    let (quota, size) = change(dict, id, |queue| {
        if queue.last.saturating_sub(queue.taken) >= CAPACITY {
            return Err(QueueError::Full);
        }
        let (key, quota) = (message_key(id, queue.last + 1), queue.quota(dict));
        let size = entry_size(key.len(), message.len());
        quota.check(dict, size, || size_of_all(dict, queue.vm_id()))?;
        dict.set(&key, message, 0, None)?;
        queue.last += 1;
        Ok((quota, size))
    })?;
    quota.count(dict, 0, size);
    Ok(())
}

/// Takes the message that came first; `None` when there is none.
///
/// # Errors
/// When there is no such queue.
pub fn dequeue(dict: &dyn Dict, id: u32) -> Result<Option<Vec<u8>>, QueueError> {
    let mut message = None;
    if Queue::read(dict, id).ok_or(QueueError::NotFound)?.is_empty() {
        return Ok(message);
    }
    let mut size = 0;
    let quota = change(dict, id, |queue| {
        while message.is_none() && !queue.is_empty() {
            queue.taken += 1;
            let (key, mut bytes) = (message_key(id, queue.taken), Vec::new());
            message = dict.get(&key, &mut bytes).map(|_| bytes);
            size = message.as_ref().map_or(0, |bytes| entry_size(key.len(), bytes.len()));
            dict.delete(&key);
        }
        Ok(queue.quota(dict))
    })?;
    quota.count(dict, size, 0);
    Ok(message)
}

/// Makes a message that was taken the first again.
///
/// # Errors
/// When there is no such queue any more, or no room.
pub fn put_back(dict: &dyn Dict, id: u32, message: &[u8]) -> Result<(), QueueError> {
    let (quota, size) = change(dict, id, |queue| {
        let Some(before) = queue.taken.checked_sub(1) else { return Err(QueueError::NotFound) };
        let key = message_key(id, queue.taken);
        dict.set(&key, message, 0, None)?;
        queue.taken = before;
        Ok((queue.quota(dict), entry_size(key.len(), message.len())))
    })?;
    quota.count(dict, 0, size);
    Ok(())
}

/// Whether somebody is to be told that a message came: each message is told of once. Of messages that nobody was there to be told
/// of, as many as a queue can have are.
pub fn claim(dict: &dyn Dict, id: u32) -> bool {
    if Queue::read(dict, id).is_none_or(|queue| queue.told == queue.last) {
        return false;
    }
    let claimed = change(dict, id, |queue| {
        let is_new = queue.told < queue.last;
        queue.told = (queue.told + 1).clamp(queue.last.saturating_sub(CAPACITY), queue.last);
        Ok(is_new)
    });
    claimed.unwrap_or(false)
}

/// What the dict knows of a queue. Messages are numbered from 1.
#[derive(Default)]
struct Queue {
    /// The message that was taken last.
    taken: u64,
    /// The message that came last.
    last: u64,
    /// Of how many messages a consumer was told.
    told: u64,
    /// Whose id this is.
    name: Vec<u8>,
}

impl Queue {
    fn read(dict: &dyn Dict, id: u32) -> Option<Self> {
        let mut entry = Vec::new();
        dict.get(&queue_key(id), &mut entry)?;
        Self::decode(&entry)
    }

    fn decode(entry: &[u8]) -> Option<Self> {
        let (taken, rest) = entry.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (told, name) = rest.split_first_chunk()?;
        let [taken, last, told] = [taken, last, told].map(|number| u64::from_le_bytes(*number));
        Some(Self { taken, last, told, name: name.to_vec() })
    }

    fn encode(&self) -> Vec<u8> {
        let [taken, last, told] = [self.taken, self.last, self.told].map(u64::to_le_bytes);
        [&taken, &last, &told, &self.name[..]].concat()
    }

    fn is_empty(&self) -> bool {
        self.taken >= self.last
    }

    fn vm_id(&self) -> &str {
        split_owner(&self.name).map_or("", |(vm_id, _)| vm_id)
    }

    /// What all queues of its `vm_id` may have.
    fn quota(&self, dict: &dyn Dict) -> Quota {
        let owner = owner_of(self.vm_id());
        let limit = dict.number(&[LIMIT, &owner].concat()).map(|limit| limit as usize);
        Quota::new("shared_queue_limit", &[QUEUE.as_bytes(), &owner].concat(), limit, SHARE)
    }
}

/// Says in all processes what the queues of a `vm_id` may have, so that it holds for plugins with another one, too.
fn set_limit(dict: &dyn Dict, vm_id: &str, limit: Option<usize>) -> Result<(), DictError> {
    let key = [LIMIT, &owner_of(vm_id)].concat();
    let limit = limit.unwrap_or_else(|| dict.capacity() / SHARE) as f64;
    if dict.number(&key) == Some(limit) { Ok(()) } else { dict.set_number(&key, limit) }
}

/// How many bytes the queues of a `vm_id` take, with their messages.
fn size_of_all(dict: &dyn Dict, vm_id: &str) -> Option<usize> {
    let (mut size, mut ids, mut entry) = (0, HashSet::new(), Vec::new());
    for key in dict.keys(QUEUE.as_bytes())? {
        if dict.get(&key, &mut entry).is_some() && Queue::decode(&entry).is_some_and(|queue| queue.vm_id() == vm_id) {
            size += entry_size(key.len(), entry.len());
            ids.insert(key[QUEUE.len()..].to_vec());
        }
    }
    for key in dict.keys(MESSAGE.as_bytes())? {
        let id = key[MESSAGE.len()..].split(|byte| *byte == b':').next();
        if id.is_some_and(|id| ids.contains(id)) && dict.get(&key, &mut entry).is_some() {
            size += entry_size(key.len(), entry.len());
        }
    }
    Some(size)
}

/// Changes what the dict knows of a queue, one process at a time.
fn change<R>(
    dict: &dyn Dict,
    id: u32,
    mut change: impl FnMut(&mut Queue) -> Result<R, QueueError>,
) -> Result<R, QueueError> {
    let key = queue_key(id);
    let lock_key = [b"lock:", &key[..]].concat();
    loop {
        let lock = Lock::take(dict, &lock_key)?;
        let mut queue = Queue::read(dict, id).ok_or(QueueError::NotFound)?;
        let result = change(&mut queue)?;
        if lock.is_held() {
            dict.set(&key, &queue.encode(), 0, None)?;
            return Ok(result);
        }
    }
}

/// The id that a name has or would have, and whether it has it. It follows from the name, so that it is the same when the dict
/// has lost the queue.
fn find(dict: &dyn Dict, name: &[u8]) -> (u32, bool) {
    let digest: [u8; 32] = Sha256::digest(name).into();
    let mut id = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]).max(1);
    loop {
        match Queue::read(dict, id) {
            None => return (id, false),
            Some(queue) if queue.name == name => return (id, true),
            Some(_) => id = id.checked_add(1).unwrap_or(1),
        }
    }
}

fn full_name(vm_id: &str, name: &[u8]) -> Vec<u8> {
    [&owner_of(vm_id), name].concat()
}

fn queue_key(id: u32) -> Vec<u8> {
    format!("{QUEUE}{id}").into_bytes()
}

fn message_key(id: u32, number: u64) -> Vec<u8> {
    format!("{MESSAGE}{id}:{number}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use proptest::prelude::*;

    use super::{super::InProcess, *};

    fn dict() -> InProcess {
        InProcess::new(64 << 20)
    }

    fn register(dict: &InProcess, vm_id: &str, name: &[u8]) -> Result<u32, QueueError> {
        super::register(dict, vm_id, Some(1 << 30), name)
    }

    fn over(limit: usize, wanted: usize) -> QueueError {
        OverQuota { option: "shared_queue_limit", limit, wanted }.into()
    }

    /// All may be counted anew at once.
    fn wait(dict: &InProcess) {
        dict.keys(b"counted:").unwrap().iter().for_each(|key| dict.delete(key));
    }

    #[test]
    fn the_queues_of_a_vm_id_take_no_more_bytes_than_their_limit() {
        let dict = dict();
        let register = |name| super::register(&dict, "vm", Some(1024), name);
        let (one, other) = (register(b"one").unwrap(), register(b"other").unwrap());
        enqueue(&dict, one, &[0; 300]).unwrap();
        assert_eq!(enqueue(&dict, other, &[0; 300]), Err(over(1024, 128 + 128 + 512 + 512)));
        enqueue(&dict, other, b"small").unwrap();
        enqueue(&dict, other, b"small").unwrap();
        assert_eq!(enqueue(&dict, other, b""), Err(over(1024, 1152)));
        assert_eq!(register(b"third"), Err(over(1024, 1152)));
        assert_eq!(register(b"other"), Ok(other));
        let message = dequeue(&dict, one).unwrap().unwrap();
        put_back(&dict, one, &message).unwrap();
        assert_eq!(enqueue(&dict, other, b""), Err(over(1024, 1152)));
        dequeue(&dict, one).unwrap();
        enqueue(&dict, other, &[0; 300]).unwrap();
        super::register(&dict, "other vm", None, b"one").unwrap();
    }

    #[test]
    fn messages_that_the_dict_lost_make_room() {
        let dict = dict();
        let id = super::register(&dict, "vm", Some(384), b"q").unwrap();
        let other = super::register(&dict, "other", Some(384), b"q").unwrap();
        for _ in 0..2 {
            enqueue(&dict, id, b"m").unwrap();
            enqueue(&dict, other, b"m").unwrap();
        }
        assert_eq!(enqueue(&dict, id, b"m"), Err(over(384, 512)));
        dict.delete(&message_key(id, 1));
        wait(&dict);
        enqueue(&dict, id, b"m").unwrap();
        assert_eq!(enqueue(&dict, other, b"m"), Err(over(384, 512)));
    }

    #[test]
    fn a_queue_is_created_once_and_found_by_its_name() {
        let dict = dict();
        assert_eq!(resolve(&dict, "vm", b"q"), None);
        let id = register(&dict, "vm", b"q").unwrap();
        assert!(id > 0);
        assert_eq!(register(&dict, "vm", b"q"), Ok(id));
        assert_eq!(resolve(&dict, "vm", b"q"), Some(id));
        assert_eq!(resolve(&dict, "other", b"q"), None);
        assert_ne!(register(&dict, "other", b"q"), Ok(id));
        assert_ne!(register(&dict, "vm", b"r"), Ok(id));
    }

    #[test]
    fn names_with_one_hash_have_different_ids() {
        let dict = dict();
        let id = find(&dict, &full_name("vm", b"q")).0;
        let other = Queue { name: b"other".to_vec(), ..Queue::default() };
        dict.set(&queue_key(id), &other.encode(), 0, None).unwrap();
        assert_eq!(resolve(&dict, "vm", b"q"), None);
        assert_eq!(register(&dict, "vm", b"q"), Ok(id + 1));
        assert_eq!(resolve(&dict, "vm", b"q"), Some(id + 1));
    }

    #[test]
    fn a_message_that_was_taken_and_put_back_is_the_first_again() {
        let dict = dict();
        let id = register(&dict, "vm", b"q").unwrap();
        for message in [b"1", b"2", b"3"] {
            enqueue(&dict, id, message).unwrap();
        }
        let first = dequeue(&dict, id).unwrap().unwrap();
        assert_eq!(first, b"1");
        put_back(&dict, id, &first).unwrap();
        let messages: Vec<_> = std::iter::from_fn(|| dequeue(&dict, id).unwrap()).collect();
        assert_eq!(messages, [b"1", b"2", b"3"]);
    }

    #[test]
    fn an_unknown_queue_is_not_found() {
        let dict = dict();
        assert_eq!(enqueue(&dict, 7, b"m"), Err(QueueError::NotFound));
        assert_eq!(dequeue(&dict, 7), Err(QueueError::NotFound));
        assert_eq!(put_back(&dict, 7, b"m"), Err(QueueError::NotFound));
        assert!(!claim(&dict, 7));
    }

    #[test]
    fn a_queue_is_bounded_and_messages_that_the_dict_lost_are_skipped() {
        let dict = dict();
        let id = register(&dict, "vm", b"q").unwrap();
        for number in 0..CAPACITY {
            enqueue(&dict, id, &number.to_le_bytes()).unwrap();
        }
        assert_eq!(enqueue(&dict, id, b"more"), Err(QueueError::Full));
        for number in 1..CAPACITY {
            dict.delete(&message_key(id, number));
        }
        assert_eq!(dequeue(&dict, id), Ok(Some((CAPACITY - 1).to_le_bytes().to_vec())));
        assert_eq!(dequeue(&dict, id), Ok(None));
        assert_eq!(enqueue(&dict, id, b"more"), Ok(()));
    }

    #[test]
    fn each_message_is_told_of_once() {
        let dict = dict();
        let id = register(&dict, "vm", b"q").unwrap();
        assert!(!claim(&dict, id));
        for _ in 0..3 {
            enqueue(&dict, id, b"m").unwrap();
        }
        dequeue(&dict, id).unwrap();
        assert_eq!((0..5).filter(|_| claim(&dict, id)).count(), 3);
        enqueue(&dict, id, b"m").unwrap();
        assert!(claim(&dict, id));
        assert!(!claim(&dict, id));
    }

    #[test]
    fn of_old_messages_no_more_are_told_of_than_a_queue_can_have() {
        let dict = dict();
        let id = register(&dict, "vm", b"q").unwrap();
        let queue = Queue { taken: 1_000_000, last: 1_000_000, told: 0, name: full_name("vm", b"q") };
        dict.set(&queue_key(id), &queue.encode(), 0, None).unwrap();
        assert_eq!((0..2 * CAPACITY).filter(|_| claim(&dict, id)).count() as u64, CAPACITY + 1);
    }

    #[test]
    fn between_threads_no_message_is_lost_or_taken_twice() {
        const THREADS: usize = 4;
        const MESSAGES: usize = 500;
        let dict = dict();
        let id = register(&dict, "vm", b"q").unwrap();
        let (taken, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let consumed = thread::scope(|scope| {
            for producer in 0..THREADS {
                let dict = &dict;
                scope.spawn(move || {
                    (0..MESSAGES).for_each(|n| enqueue(dict, id, format!("{producer}:{n:04}").as_bytes()).unwrap());
                });
            }
            let consume = || {
                let mut messages = Vec::new();
                while taken.load(Ordering::Relaxed) < THREADS * MESSAGES {
                    told.fetch_add(claim(&dict, id).into(), Ordering::Relaxed);
                    if let Some(message) = dequeue(&dict, id).unwrap() {
                        taken.fetch_add(1, Ordering::Relaxed);
                        messages.push(message);
                    }
                }
                messages
            };
            let consumers: Vec<_> = (0..2).map(|_| scope.spawn(consume)).collect();
            consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>()
        });
        // Each consumer has the messages of one producer in their order.
        for messages in &consumed {
            for producer in 0..THREADS {
                let prefix = format!("{producer}:");
                assert!(messages.iter().filter(|message| message.starts_with(prefix.as_bytes())).is_sorted());
            }
        }
        let mut all = consumed.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), THREADS * MESSAGES);
        let rest = std::iter::from_fn(|| claim(&dict, id).then_some(())).count();
        assert_eq!(told.into_inner() + rest, THREADS * MESSAGES);
    }

    proptest! {
        /// Any sequence of calls has the results of a queue in memory.
        #[test]
        fn one_process_sees_a_queue(calls in proptest::collection::vec(any::<Option<u8>>(), 0..64)) {
            let (dict, mut expected) = (dict(), VecDeque::new());
            let id = register(&dict, "vm", b"q").unwrap();
            for call in calls {
                match call {
                    Some(message) => {
                        enqueue(&dict, id, &[message]).unwrap();
                        expected.push_back(vec![message]);
                    }
                    None => prop_assert_eq!(dequeue(&dict, id).unwrap(), expected.pop_front()),
                }
            }
        }
    }
}
