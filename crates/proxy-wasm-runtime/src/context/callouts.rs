use std::time::Instant;

use super::Contexts;
use crate::callout::Kind;

/// What the host keeps of a callout in flight.
pub(crate) struct CalloutEntry {
    /// The plugin context that its callbacks run in.
    pub plugin: u32,
    /// The stream context that it was made for, while that lives.
    pub stream: Option<u32>,
    pub kind: Kind,
    /// How many bytes of it the proxy keeps: of headers and bodies, and of messages that wait to be sent.
    pub size: usize,
    /// The guest has sent its last message.
    pub is_half_closed: bool,
    pub started: Instant,
}

/// What a stream waits for between two callbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nothing: it goes on.
    #[default]
    No,
    /// `proxy_continue_stream`, or that no callout of the stream is in flight: the guest has paused it.
    UntilContinued,
    /// The answers of its HTTP calls, or `proxy_continue_stream`: the guest has not paused it, but plugins for
    /// wasm-nginx-module need not.
    UntilAnswered,
}

impl<S> Contexts<S> {
    /// Registers a callout of a plugin context, and of a stream context if that lives.
    pub fn add_callout(&mut self, token: u32, plugin: u32, stream: Option<u32>, kind: Kind, size: usize) {
        let stream = stream.filter(|id| self.streams.contains_key(id));
        let is_half_closed = kind != Kind::GrpcStream;
        let started = Instant::now();
        self.callouts.insert(token, CalloutEntry { plugin, stream, kind, size, is_half_closed, started });
        self.callout_bytes += size;
        self.count_callout(plugin, stream, kind, 1);
    }

    /// Forgets a callout and returns what was kept of it.
    pub fn remove_callout(&mut self, token: u32) -> Option<CalloutEntry> {
        let callout = self.callouts.remove(&token)?;
        self.callout_bytes -= callout.size;
        self.count_callout(callout.plugin, callout.stream, callout.kind, -1);
        Some(callout)
    }

    /// Remembers whether the guest has sent its last message on a stream.
    pub fn set_half_closed(&mut self, token: u32, is_half_closed: bool) {
        if let Some(callout) = self.callouts.get_mut(&token) {
            callout.is_half_closed = is_half_closed;
        }
    }

    /// Counts a message that is about to be sent on a stream.
    pub fn add_callout_bytes(&mut self, token: u32, size: usize) {
        if let Some(callout) = self.callouts.get_mut(&token) {
            callout.size += size;
            self.callout_bytes += size;
        }
    }

    /// Forgets the messages that have been sent on streams: `unsent` are those of a token that have not.
    pub fn recount_callout_bytes(&mut self, unsent: impl Fn(u32) -> usize) {
        for (token, callout) in &mut self.callouts {
            if callout.kind == Kind::GrpcStream {
                callout.size = unsent(*token);
            }
        }
        self.callout_bytes = self.callouts.values().map(|callout| callout.size).sum();
    }

    /// The callouts of a stream context, oldest first.
    pub fn callouts_of_stream(&self, stream: u32) -> Vec<u32> {
        let has_some = self.streams.get(&stream).is_some_and(|entry| entry.callouts > 0);
        if has_some { self.tokens(|callout| callout.stream == Some(stream)) } else { Vec::new() }
    }

    /// The callouts of a plugin context, oldest first.
    pub fn callouts_of_plugin(&self, plugin: u32) -> Vec<u32> {
        let has_some = self.plugins.get(&plugin).is_some_and(|entry| entry.callouts > 0);
        if has_some { self.tokens(|callout| callout.plugin == plugin) } else { Vec::new() }
    }

    /// Forgets all callouts, and returns their tokens.
    pub fn take_callouts(&mut self) -> Vec<u32> {
        let tokens = self.tokens(|_| true);
        tokens.iter().for_each(|token| _ = self.remove_callout(*token));
        tokens
    }

    /// Lets callouts go on without the stream context that they were made for: its id may soon be another's.
    pub(super) fn detach_callouts(&mut self, stream: u32) {
        for token in self.callouts_of_stream(stream) {
            if let Some(callout) = self.callouts.get_mut(&token) {
                callout.stream = None;
            }
        }
    }

    fn tokens(&self, matches: impl Fn(&CalloutEntry) -> bool) -> Vec<u32> {
        let mut tokens: Vec<u32> =
            self.callouts.iter().filter(|(_, callout)| matches(callout)).map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        tokens
    }

    fn count_callout(&mut self, plugin: u32, stream: Option<u32>, kind: Kind, by: isize) {
        if let Some(entry) = self.plugins.get_mut(&plugin) {
            entry.callouts = entry.callouts.saturating_add_signed(by);
        }
        if let Some(entry) = stream.and_then(|id| self.streams.get_mut(&id)) {
            entry.callouts = entry.callouts.saturating_add_signed(by);
            if kind == Kind::Http {
                entry.http_calls = entry.http_calls.saturating_add_signed(by);
            }
        }
    }
}
