//! The header map codec. What decodes encodes to the bytes that it came from; what is encoded decodes to itself; neither is so
//! beyond the limits.

use std::borrow::Cow;

use arbitrary::{Result, Unstructured};
use proxy_wasm_runtime::abi::{
    pairs::{self, LARGEST_MAP, MOST_PAIRS, Pair},
    property::Value,
};

static FILLER: [u8; LARGEST_MAP + 1] = [b'x'; LARGEST_MAP + 1];

/// Takes the input as a map of a guest's, then as headers for a guest.
pub fn run(input: &[u8]) {
    decode(input);
    let _ = encode(&mut Unstructured::new(input));
}

fn decode(bytes: &[u8]) {
    let Ok(decoded) = pairs::decode(bytes) else { return };
    assert!(bytes.len() <= LARGEST_MAP && decoded.len() <= MOST_PAIRS as usize);
    let headers: Vec<Pair<'_>> = decoded.iter().map(|(name, value)| (Cow::from(*name), Cow::from(*value))).collect();
    let encoded = encoded(&headers);
    // No bytes at all are an empty map too, and bytes after the last pair are ignored.
    assert!(bytes.is_empty() || bytes.starts_with(&encoded));
    assert_eq!(pairs::decode(&encoded), Ok(decoded));
}

/// Headers of any number and size, some of them just within the limits or just beyond them.
fn encode(input: &mut Unstructured<'_>) -> Result<()> {
    let edge = input.arbitrary::<u8>()?;
    let mut headers: Vec<Pair<'_>> = Vec::new();
    while !input.is_empty() {
        headers.push((text(input)?, text(input)?));
    }
    if headers.is_empty() {
        return Ok(());
    }
    match edge {
        0xf9..=0xfb => {
            let count = usize::from(edge) + MOST_PAIRS as usize - 0xfa;
            headers = headers.into_iter().cycle().take(count).collect();
        }
        0xfc..=0xfe => {
            let missing = usize::from(edge) + LARGEST_MAP - 0xfd - size(&headers);
            headers.push((Cow::default(), Cow::from(&FILLER[..missing - 10])));
        }
        _ => {}
    }

    let encoded = encoded(&headers);
    assert_eq!(encoded.len(), size(&headers));
    let is_within_limits = encoded.len() <= LARGEST_MAP && headers.len() <= MOST_PAIRS as usize;
    match pairs::decode(&encoded) {
        Ok(decoded) => {
            assert!(is_within_limits && decoded.len() == headers.len());
            let pairs = headers.iter().zip(&decoded);
            pairs.for_each(|((name, value), decoded)| assert_eq!((&**name, &**value), *decoded));
        }
        Err(error) => assert!(!is_within_limits, "{error}"),
    }
    Ok(())
}

fn text<'a>(input: &mut Unstructured<'a>) -> Result<Cow<'a, [u8]>> {
    let size = usize::from(input.arbitrary::<u8>()?).min(input.len());
    Ok(input.bytes(size)?.into())
}

fn size(headers: &[Pair<'_>]) -> usize {
    4 + headers.iter().map(|(name, value)| 8 + name.len() + 1 + value.len() + 1).sum::<usize>()
}

/// The wire form, which a property that is a map has too.
fn encoded(headers: &[Pair<'_>]) -> Vec<u8> {
    let mut bytes = vec![0xaa; pairs::encoded_len(headers).expect("it is small") as usize];
    pairs::encode(headers, &mut bytes);
    if bytes.len() < 4096 {
        let value = Value::Map(headers.to_vec());
        let mut property = vec![0xbb; value.encoded_len().expect("it is small") as usize];
        value.encode(&mut property);
        assert_eq!(bytes, property);
    }
    bytes
}
