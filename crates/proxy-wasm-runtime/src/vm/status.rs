use std::sync::Arc;

use super::Vm;
use crate::{error::TrapKind, host::Host};

/// How a plugin fares in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The plugin's name.
    pub name: Arc<str>,
    /// Whether it can be called.
    pub health: Health,
    /// How many callbacks were called.
    pub calls: u64,
    /// How often each kind of trap stopped it.
    pub traps: [(TrapKind, u64); TrapKind::ALL.len()],
    /// How often its virtual machine was built anew.
    pub rebuilds: u64,
    /// The linear memory, in bytes.
    pub memory: usize,
    /// How many plugin contexts live.
    pub plugin_contexts: usize,
    /// How many stream contexts live.
    pub stream_contexts: usize,
    /// How many callouts are in flight.
    pub callouts: usize,
}

/// Whether a plugin can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It runs.
    Running,
    /// It has trapped: the next call builds it anew.
    Trapped,
    /// It keeps failing, and is not called for a while.
    Resting,
}

impl Health {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Trapped => "trapped",
            Self::Resting => "resting",
        }
    }
}

impl<H: Host> Vm<H> {
    /// How the plugin fares.
    pub fn status(&self) -> Status {
        let state = self.store.data();
        let health = match &self.callbacks {
            Some(_) => Health::Running,
            None if self.recovery.is_resting() => Health::Resting,
            None => Health::Trapped,
        };
        Status {
            name: state.options.name.clone(),
            health,
            calls: self.calls,
            traps: TrapKind::ALL.map(|kind| (kind, self.recovery.traps[kind as usize])),
            rebuilds: self.recovery.rebuilds,
            memory: state.memory.map_or(0, |memory| memory.data_size(&self.store)),
            plugin_contexts: state.contexts.plugins.len(),
            stream_contexts: state.contexts.streams.len(),
            callouts: state.contexts.callouts.len(),
        }
    }
}
