//! The ABI as data: versions, statuses, enumerations, the header map codec and property values. Nothing here touches a guest.

mod enums;
pub(crate) mod grpc_service;
pub mod pairs;
pub mod property;
mod status;
mod utf8;

pub use enums::{AbiVersion, BufferType, HeaderMap, LogLevel, MetricType};
pub use status::Status;
pub use utf8::escape_invalid;
