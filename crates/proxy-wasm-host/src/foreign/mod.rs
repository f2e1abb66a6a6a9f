//! The foreign functions that every proxy has: those of Envoy that mean something outside of it. One file per kin.

mod signature;
mod zlib;

use crate::abi::Status;

/// Takes what the guest gives and returns what the guest gets.
///
/// Fails with `BadArgument`, `SerializationFailure` or `InternalFailure`.
pub(crate) type ForeignFunction = fn(&[u8]) -> Result<Vec<u8>, Status>;

/// The function of this name.
pub(crate) fn find(name: &[u8]) -> Option<ForeignFunction> {
    match name {
        b"compress" => Some(zlib::compress),
        b"uncompress" => Some(zlib::uncompress),
        b"sign" => Some(signature::sign),
        b"verify_signature" => Some(signature::verify),
        // A proxy that chooses the route anew after each callback has nothing to clear.
        b"clear_route_cache" => Some(|_| Ok(Vec::new())),
        _ => None,
    }
}
