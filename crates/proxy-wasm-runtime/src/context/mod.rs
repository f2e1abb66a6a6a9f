//! Plugin contexts (root contexts) and stream contexts: their ids and what the host keeps of each.

mod callouts;
mod ids;
mod options;
mod plugin;
mod refusals;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use callouts::{CalloutEntry, Waiting};
pub use ids::IdMap;
pub use options::Options;
pub use plugin::{Plugin, PluginContext};

use crate::vm::Outcome;

/// All contexts of one virtual machine. They outlive the instance: a new one is given the plugin contexts of the old.
pub(crate) struct Contexts<S> {
    last_id: u32,
    free_ids: VecDeque<u32>,
    pub plugins: IdMap<PluginEntry>,
    pub streams: IdMap<StreamEntry<S>>,
    /// For how many streams the proxy keeps something.
    keeping: usize,
    /// Callouts in flight by their tokens.
    pub callouts: IdMap<CalloutEntry>,
    /// How many bytes they hold.
    pub callout_bytes: usize,
}

impl<S> Default for Contexts<S> {
    fn default() -> Self {
        Self {
            last_id: 0,
            free_ids: VecDeque::new(),
            plugins: IdMap::default(),
            streams: IdMap::default(),
            keeping: 0,
            callouts: IdMap::default(),
            callout_bytes: 0,
        }
    }
}

/// What the host keeps of a plugin context.
pub(crate) struct PluginEntry {
    /// No other plugin context of this process has it, of whatever plugin.
    pub key: u64,
    pub configuration: Arc<[u8]>,
    free_stream_ids: VecDeque<u32>,
    /// How many stream contexts are open.
    pub open_streams: usize,
    /// How many callouts are in flight.
    pub callouts: usize,
    /// The queues that it has registered: it is told of their messages.
    pub queues: VecDeque<u32>,
    pub end: End,
}

/// How far a plugin context is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody holds it.
    None,
    /// Nobody holds it any more: it ends with its last stream context and callout.
    Released(Patience),
    /// `proxy_on_done` returned false: `proxy_done` ends it.
    Draining,
}

/// Whether a guest that is not done with its plugin context is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it calls `proxy_done`.
    Wait,
    /// No: the proxy is about to end.
    Hurry,
}

/// What the host keeps of a stream context.
pub(crate) struct StreamEntry<S> {
    /// The plugin context that it belongs to.
    pub plugin: u32,
    pub stream: S,
    /// The instance that knows the context.
    pub generation: u32,
    /// What the guest holds back of the response body.
    pub held: Vec<u8>,
    /// How many bytes the proxy keeps until its end for what the guest has read and set.
    pub kept: usize,
    /// How many callouts are in flight that were made for it.
    pub callouts: usize,
    /// How many of them are HTTP calls.
    pub http_calls: usize,
    pub waiting: Waiting,
    /// The part of the request body that it was paused with, and whether the guest has changed it.
    pub paused_body: Option<(Vec<u8>, bool)>,
    /// How a callback of another context has ended it.
    pub ended: Option<Outcome>,
}

impl<S> StreamEntry<S> {
    /// Whether what it waits for is still to come.
    pub fn has_to_wait(&self) -> bool {
        match self.waiting {
            Waiting::No => false,
            Waiting::UntilContinued => self.callouts > 0,
            Waiting::UntilAnswered => self.http_calls > 0,
        }
    }
}

impl<S> Contexts<S> {
    /// Registers a plugin context under the id that was freed first, or a new one.
    pub fn add_plugin(&mut self, configuration: Arc<[u8]>) -> u32 {
        let id = self.free_ids.pop_front().unwrap_or_else(|| self.new_id());
        static LAST_KEY: AtomicU64 = AtomicU64::new(0);
        let entry = PluginEntry {
            key: LAST_KEY.fetch_add(1, Ordering::Relaxed) + 1,
            configuration,
            free_stream_ids: VecDeque::new(),
            open_streams: 0,
            callouts: 0,
            queues: VecDeque::new(),
            end: End::None,
        };
        self.plugins.insert(id, entry);
        id
    }

    /// Forgets a plugin context. Its id is used again, those of its stream contexts are not.
    pub fn remove_plugin(&mut self, id: u32) {
        if self.plugins.remove(&id).is_some() {
            self.free_ids.push_back(id);
        }
    }

    /// Forgets the plugin contexts that wait for `proxy_done`.
    pub fn remove_draining(&mut self) {
        while let (_, Some(id)) = self.draining() {
            self.remove_plugin(id);
        }
    }

    /// How many plugin contexts wait for `proxy_done`, and the id of the oldest of them.
    pub fn draining(&self) -> (usize, Option<u32>) {
        let draining = || self.plugins.iter().filter(|(_, plugin)| plugin.end == End::Draining);
        (draining().count(), draining().min_by_key(|(_, plugin)| plugin.key).map(|(id, _)| *id))
    }

    /// Registers a stream context under the id of its plugin context's that was freed first, or a new one. A plugin context that
    /// ends whenever the guest says so takes no more.
    pub fn add_stream(&mut self, plugin: u32, stream: S, generation: u32) -> Option<u32> {
        let entry = self.plugins.get_mut(&plugin).filter(|entry| entry.end != End::Draining)?;
        entry.open_streams += 1;
        let id = match entry.free_stream_ids.pop_front() {
            Some(id) => id,
            None => self.new_id(),
        };
        let entry = StreamEntry {
            plugin,
            stream,
            generation,
            held: Vec::new(),
            kept: 0,
            callouts: 0,
            http_calls: 0,
            waiting: Waiting::No,
            paused_body: None,
            ended: None,
        };
        self.streams.insert(id, entry);
        Some(id)
    }

    /// Forgets a stream context and returns what was kept of it. Its callouts go on.
    pub fn remove_stream(&mut self, id: u32) -> Option<StreamEntry<S>> {
        self.detach_callouts(id);
        let stream = self.streams.remove(&id)?;
        self.keeping -= usize::from(stream.kept > 0);
        if let Some(plugin) = self.plugins.get_mut(&stream.plugin) {
            plugin.open_streams -= 1;
            plugin.free_stream_ids.push_back(id);
        }
        Some(stream)
    }

    /// How many bytes the proxy keeps for a stream until it ends; 0 for a plugin context.
    #[inline]
    pub fn kept_for(&self, id: u32) -> usize {
        // Most plugins read and set nothing that is kept.
        if self.keeping == 0 { 0 } else { self.streams.get(&id).map_or(0, |stream| stream.kept) }
    }

    /// Notes how many bytes, at least 1, the proxy keeps for a stream until it ends.
    pub fn keep_for(&mut self, id: u32, kept: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.keeping += usize::from(stream.kept == 0);
            stream.kept = kept;
        }
    }

    /// The id of the plugin context that `id` is or belongs to.
    pub fn plugin_id_of(&self, id: u32) -> u32 {
        self.streams.get(&id).map_or(id, |stream| stream.plugin)
    }

    /// The plugin context that `id` is or belongs to.
    pub fn plugin_of(&self, id: u32) -> Option<&PluginEntry> {
        self.plugins.get(&self.plugin_id_of(id))
    }

    /// As [`Self::plugin_of`], to be changed.
    pub fn plugin_of_mut(&mut self, id: u32) -> Option<&mut PluginEntry> {
        let id = self.plugin_id_of(id);
        self.plugins.get_mut(&id)
    }

    /// Whether a context of this id lives.
    pub fn contains(&self, id: u32) -> bool {
        self.streams.contains_key(&id) || self.plugins.contains_key(&id)
    }

    fn new_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.contains(self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts() -> Contexts<()> {
        Contexts::default()
    }

    fn add_plugin(contexts: &mut Contexts<()>) -> u32 {
        contexts.add_plugin(Arc::from(&b""[..]))
    }

    #[test]
    fn plugin_and_stream_contexts_share_one_counter() {
        let mut contexts = contexts();
        assert_eq!(add_plugin(&mut contexts), 1);
        assert_eq!(contexts.add_stream(1, (), 0), Some(2));
        assert_eq!(add_plugin(&mut contexts), 3);
        assert_eq!(contexts.add_stream(3, (), 0), Some(4));
    }

    #[test]
    fn freed_ids_are_used_again_first_freed_first() {
        let mut contexts = contexts();
        add_plugin(&mut contexts);
        for id in 2..=4 {
            assert_eq!(contexts.add_stream(1, (), 0), Some(id));
        }
        contexts.remove_stream(3);
        contexts.remove_stream(2);
        assert_eq!(contexts.add_stream(1, (), 0), Some(3));
        assert_eq!(contexts.add_stream(1, (), 0), Some(2));
        assert_eq!(contexts.add_stream(1, (), 0), Some(5));
    }

    #[test]
    fn a_new_plugin_context_takes_a_freed_id_and_not_its_stream_ids() {
        let mut contexts = contexts();
        add_plugin(&mut contexts);
        contexts.add_stream(1, (), 0);
        contexts.remove_stream(2);
        contexts.remove_plugin(1);
        assert_eq!(add_plugin(&mut contexts), 1);
        assert_eq!(contexts.add_stream(1, (), 0), Some(3));
    }

    #[test]
    fn the_counter_wraps_past_ids_in_use_and_zero() {
        let mut contexts = contexts();
        add_plugin(&mut contexts);
        contexts.last_id = u32::MAX;
        assert_eq!(contexts.add_stream(1, (), 0), Some(2));
    }

    #[test]
    fn a_stream_of_a_plugin_context_that_waits_for_the_guest_to_be_done_is_refused() {
        let mut contexts = contexts();
        add_plugin(&mut contexts);
        contexts.plugins.get_mut(&1).unwrap().end = End::Draining;
        assert_eq!(contexts.add_stream(1, (), 0), None);
    }

    #[test]
    fn a_stream_of_an_unknown_plugin_context_is_refused() {
        assert_eq!(contexts().add_stream(7, (), 0), None);
    }
}
