//! The ABI as data: versions, statuses, enumerations and the header map codec. Nothing here touches a guest.

mod enums;
pub mod pairs;
mod status;
mod utf8;

pub use enums::{AbiVersion, BufferType, HeaderMap, LogLevel, MetricType};
pub use status::Status;
pub use utf8::escape_invalid;
