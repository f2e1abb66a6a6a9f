//! The engine, compiled modules and the instance of a plugin.

mod answer;
mod callouts;
mod engine;
mod instance;
mod module;
mod state;
mod stdio;
mod wasi;

pub(crate) use answer::Answer;
pub use engine::Engine;
pub(crate) use instance::Vm;
pub use instance::{Event, Outcome, QueuePoll};
pub(crate) use module::Module;
pub(crate) use state::State;
