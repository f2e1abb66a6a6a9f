//! The foreign functions that every proxy has: those of Envoy that mean something outside of it. One file per kin.

mod signature;
mod zlib;

use crate::{error::Failure, vm::Clock};

/// Takes what the guest gives and returns what the guest gets. One that may take long asks the clock on its way.
///
/// Fails with `BadArgument`, `SerializationFailure` or `InternalFailure`, or when the time is over.
pub(crate) type ForeignFunction = fn(&[u8], &Clock) -> Result<Vec<u8>, Failure>;

/// How many bytes are worked on before the clock is asked again.
const PIECE: usize = 256 << 10;

/// The function of this name.
pub(crate) fn find(name: &[u8]) -> Option<ForeignFunction> {
    match name {
        b"compress" => Some(zlib::compress),
        b"uncompress" => Some(zlib::uncompress),
        b"sign" => Some(signature::sign),
        b"verify_signature" => Some(signature::verify),
        // A proxy that chooses the route anew after each callback has nothing to clear.
        b"clear_route_cache" => Some(|_, _| Ok(Vec::new())),
        _ => None,
    }
}
