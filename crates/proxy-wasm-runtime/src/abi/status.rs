/// What a hostcall answers to the guest: `proxy_status_t` of the ABI.
///
/// Only members that the Rust SDK knows for the call in question may be returned: it panics on any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// The call succeeded.
    Ok = 0,
    /// The named thing does not exist.
    NotFound = 1,
    /// An argument is outside of what the call accepts.
    BadArgument = 2,
    /// A value could not be turned into bytes.
    SerializationFailure = 3,
    /// Bytes could not be turned into a value.
    ParseFailure = 4,
    /// A queue has no element.
    Empty = 7,
    /// The stored value is not the one that the caller saw.
    CasMismatch = 8,
    /// The host could not do it.
    InternalFailure = 10,
    /// The host does not have this call.
    Unimplemented = 12,
}
