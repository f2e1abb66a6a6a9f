//! The wire form of a header map: `u32 n`, n × (`u32 key length`, `u32 value length`), n × (key NUL value NUL),
//! all little-endian, lengths without the NULs.

use std::borrow::Cow;

use thiserror::Error;

/// The most bytes that a guest's header map may have, as in Envoy.
pub const LARGEST_MAP: usize = 1 << 20;
/// The most headers that it may have, as in Envoy.
pub const MOST_PAIRS: u32 = 1024;

/// One header, its name first.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Headers in a guest's memory, each with its name first.
pub type DecodedPairs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Headers or metadata that somebody owns, each with its name first; a name may stand several times.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a header map from a guest is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MalformedPairs {
    /// It breaks a rule of the wire form.
    #[error("malformed header map of {size} bytes: {rule}")]
    Form {
        /// In bytes.
        size: usize,
        /// The rule, in words.
        rule: &'static str,
    },
    /// It is larger than [`LARGEST_MAP`].
    #[error("a header map may have {LARGEST_MAP} bytes, the guest's has {size}")]
    Size {
        /// In bytes.
        size: usize,
    },
    /// It has more headers than [`MOST_PAIRS`].
    #[error("a header map may have {MOST_PAIRS} headers, the guest's has {count}")]
    Count {
        /// In headers.
        count: u32,
    },
}

/// The length of the wire form in bytes; `None` when it does not fit the guest's address space.
pub fn encoded_len(pairs: &[Pair<'_>]) -> Option<u32> {
    let bytes: usize = pairs.iter().map(|(key, value)| 8 + key.len() + 1 + value.len() + 1).sum();
    u32::try_from(4 + bytes).ok()
}

/// Writes the wire form of `pairs` into `out`, which has [`encoded_len`] bytes.
pub fn encode(pairs: &[Pair<'_>], out: &mut [u8]) {
    let mut out = out;
    put(&mut out, &(pairs.len() as u32).to_le_bytes());
    for (key, value) in pairs {
        put(&mut out, &(key.len() as u32).to_le_bytes());
        put(&mut out, &(value.len() as u32).to_le_bytes());
    }
    for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
        put(&mut out, text);
        put(&mut out, &[0]);
    }
}

fn put(out: &mut &mut [u8], bytes: &[u8]) {
    let (head, tail) = std::mem::take(out).split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    *out = tail;
}

/// Reads the wire form. No bytes at all are an empty map; bytes after the last pair are ignored.
///
/// # Errors
/// When it is larger than [`LARGEST_MAP`] or has more than [`MOST_PAIRS`] headers, when a count or a length points past the end, or a NUL is missing.
pub fn decode(bytes: &[u8]) -> Result<DecodedPairs<'_>, MalformedPairs> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let malformed = |rule| MalformedPairs::Form { size: bytes.len(), rule };
    if bytes.len() > LARGEST_MAP {
        return Err(MalformedPairs::Size { size: bytes.len() });
    }
    let (count, rest) = take_u32(bytes).ok_or(malformed("it is shorter than its count"))?;
    let lengths_size = (count as usize).checked_mul(8).filter(|size| *size <= rest.len());
    let lengths_size = lengths_size.ok_or(malformed("its count asks for more lengths than it holds"))?;
    if count > MOST_PAIRS {
        return Err(MalformedPairs::Count { count });
    }
    let (lengths, mut texts) = rest.split_at(lengths_size);

    let mut next = |length: &[u8]| {
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let text = texts.get(..length)?;
        texts = texts.get(length..)?.strip_prefix(&[0])?;
        Some(text)
    };
    lengths
        .chunks_exact(8)
        .map(|pair| Some((next(&pair[..4])?, next(&pair[4..])?)))
        .collect::<Option<_>>()
        .ok_or(malformed("a length points past its end or a terminating NUL is missing"))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, tail) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*head), tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(pairs: &[Pair<'_>]) -> Vec<u8> {
        let mut out = vec![0xaa; encoded_len(pairs).unwrap() as usize];
        encode(pairs, &mut out);
        out
    }

    #[test]
    fn an_empty_map_is_four_zero_bytes() {
        assert_eq!(encoded(&[]), [0; 4]);
        assert_eq!(decode(&[0; 4]), Ok(vec![]));
        assert_eq!(decode(&[]), Ok(vec![]));
    }

    #[test]
    fn one_pair_has_the_layout_of_the_specification() {
        let pairs = [(Cow::from(&b"ab"[..]), Cow::from(&b"c"[..]))];
        assert_eq!(encoded(&pairs), b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0");
    }

    #[test]
    fn a_count_past_the_end_is_refused() {
        for blob in [&b"\xff\xff\xff\xff"[..], b"\x01\0\0\0", b"\x01\0\0\0\0\0\0\0", b"\x01"] {
            assert!(decode(blob).is_err(), "{blob:?}");
        }
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        assert!(decode(b"\x01\0\0\0\xff\xff\xff\x7f\x01\0\0\0a\0b\0").is_err());
        assert!(decode(b"\x01\0\0\0\x01\0\0\0\xff\xff\xff\xffa\0b\0").is_err());
    }

    #[test]
    fn a_map_that_is_too_large_is_refused() {
        let pairs = |count: usize, value: usize| vec![(Cow::from(&b"a"[..]), Cow::from(vec![0; value])); count];
        assert!(decode(&encoded(&pairs(1024, 0))).is_ok());
        assert_eq!(decode(&encoded(&pairs(1025, 0))), Err(MalformedPairs::Count { count: 1025 }));
        assert!(decode(&encoded(&pairs(1, (1 << 20) - 15))).is_ok());
        let size = (1 << 20) + 1;
        assert_eq!(decode(&encoded(&pairs(1, size - 15))), Err(MalformedPairs::Size { size }));
    }

    #[test]
    fn a_missing_nul_is_refused() {
        assert!(decode(b"\x01\0\0\0\x01\0\0\0\x01\0\0\0aXb\0").is_err());
        assert!(decode(b"\x01\0\0\0\x01\0\0\0\x01\0\0\0a\0b").is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let borrowed: Vec<Pair<'_>> = pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
            let decoded: Vec<(Vec<u8>, Vec<u8>)> =
                decode(&encoded(&borrowed)).unwrap().into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(decoded, pairs);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
