//! The engine, compiled modules and the instance of a plugin.

mod answer;
mod budget;
mod callouts;
#[cfg(feature = "compile-once")]
mod compiled;
mod engine;
mod file_kind;
mod instance;
mod limits;
mod log_rate;
mod module;
mod module_limits;
mod recovery;
mod state;
mod status;
mod stdio;
mod wasi;

pub(crate) use answer::Answer;
pub(crate) use budget::Budget;
pub use engine::Engine;
pub(crate) use instance::Vm;
pub use instance::{Event, Outcome, QueuePoll};
pub(crate) use limits::{Clock, Limiter};
pub use limits::{MODULE_SIZE, TICK, Ticker};
pub use log_rate::LogRate;
pub(crate) use module::Module;
pub(crate) use state::State;
pub use status::{Health, Status};
