//! One instance of a module: its memory, its allocator and the callbacks that it exports.

mod exports;
mod memory;

pub use exports::CALLBACKS;
pub(crate) use exports::{Allocator, Callbacks};
pub use memory::{GuestMemory, LONGEST_NAME};
