//! `compress`, `uncompress`: the zlib format, bytes to bytes.

use std::io::Write;

use flate2::{Compression, Decompress, FlushDecompress, write::ZlibEncoder};

use super::PIECE;
use crate::{abi::Status, error::Failure, vm::Clock};

/// The most bytes that [`uncompress`] returns: a few bytes can stand for a thousand times as many.
const MOST_BYTES: usize = 64 << 20;

pub(super) fn compress(bytes: &[u8], clock: &Clock) -> Result<Vec<u8>, Failure> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    for piece in bytes.chunks(PIECE) {
        clock.check()?;
        encoder.write_all(piece).map_err(|_| Status::SerializationFailure)?;
    }
    Ok(encoder.finish().map_err(|_| Status::SerializationFailure)?)
}

/// What follows the end of the compressed bytes is ignored, as zlib does.
pub(super) fn uncompress(bytes: &[u8], clock: &Clock) -> Result<Vec<u8>, Failure> {
    let mut decoder = Decompress::new(true);
    let mut output = Vec::with_capacity(bytes.len().saturating_mul(2).clamp(64, PIECE));
    loop {
        clock.check()?;
        let before = (decoder.total_in(), decoder.total_out());
        let rest = bytes.get(decoder.total_in() as usize..).unwrap_or_default();
        let piece = &rest[..rest.len().min(PIECE)];
        let status = decoder.decompress_vec(piece, &mut output, FlushDecompress::None);
        let is_stuck = before == (decoder.total_in(), decoder.total_out());
        match status {
            Ok(_) if output.len() > MOST_BYTES => return Err(Status::SerializationFailure.into()),
            Ok(flate2::Status::StreamEnd) => return Ok(output),
            // One byte past the limit is room enough for the end to show.
            Ok(_) if output.len() == output.capacity() => {
                output.reserve_exact(output.len().min(PIECE).min(MOST_BYTES + 1 - output.len()));
            }
            Ok(_) if !is_stuck => (),
            _ => return Err(Status::SerializationFailure.into()),
        }
    }
}
