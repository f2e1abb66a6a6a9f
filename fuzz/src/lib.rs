//! What each fuzz target does with its input. A finding is a panic.

pub mod callbacks;
mod embedding;
mod exchange;
pub mod foreign;
pub mod grpc;
mod guest;
pub mod guest_memory;
pub mod hostcalls;
pub mod http1;
pub mod http2;
pub mod module;
pub mod pairs;
