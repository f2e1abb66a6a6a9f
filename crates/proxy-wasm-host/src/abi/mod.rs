//! The ABI as data: versions, statuses, enumerations and the header map codec. Nothing here touches a guest.

mod enums;
pub mod pairs;
mod status;

pub use enums::{AbiVersion, BufferType, HeaderMap, LogLevel};
pub use status::Status;
