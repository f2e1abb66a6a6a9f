//! The host with guests written in the text format and a proxy that keeps everything in memory.

mod bodies;
mod callouts;
mod foreign;
mod guest;
mod hostcalls;
mod lifecycle;
mod limits;
mod load;
mod panics;
mod queues;
mod reentry;
mod statuses;
