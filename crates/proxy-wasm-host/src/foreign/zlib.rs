//! `compress`, `uncompress`: the zlib format, bytes to bytes.

use std::io::Write;

use flate2::{Compression, Decompress, FlushDecompress, write::ZlibEncoder};

use crate::abi::Status;

/// The most bytes that [`uncompress`] returns: a few bytes can stand for a thousand times as many.
const MOST_BYTES: usize = 64 << 20;

pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|_| Status::SerializationFailure)
}

/// What follows the end of the compressed bytes is ignored, as zlib does.
pub(super) fn uncompress(bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let mut decoder = Decompress::new(true);
    let mut output = Vec::with_capacity(bytes.len().saturating_mul(2).clamp(64, MOST_BYTES));
    loop {
        let before = (decoder.total_in(), decoder.total_out());
        let rest = bytes.get(decoder.total_in() as usize..).unwrap_or_default();
        let status = decoder.decompress_vec(rest, &mut output, FlushDecompress::None);
        let is_stuck = before == (decoder.total_in(), decoder.total_out());
        match status {
            Ok(_) if output.len() > MOST_BYTES => return Err(Status::SerializationFailure),
            Ok(flate2::Status::StreamEnd) => return Ok(output),
            // One byte past the limit is room enough for the end to show.
            Ok(_) if output.len() == output.capacity() => {
                output.reserve_exact(output.len().min(MOST_BYTES + 1 - output.len()));
            }
            Ok(_) if !is_stuck => (),
            _ => return Err(Status::SerializationFailure),
        }
    }
}
