//! Property values and their wire form, which is the one that Envoy gives plugins and SDKs decode: numbers are 8 bytes,
//! little-endian, a boolean is 1 byte, times are nanoseconds, a map is in the form of a header map.

use std::borrow::Cow;

use super::pairs::{self, Pair};

/// The value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text or any bytes.
    Bytes(Cow<'a, [u8]>),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// A point in time: nanoseconds since 1970 in UTC.
    Timestamp(i64),
    /// A length of time: nanoseconds.
    Duration(i64),
    /// Keys and their values.
    Map(Vec<Pair<'a>>),
}

impl<'a> Value<'a> {
    /// A list, which is a map from its elements to empty values.
    pub fn list(elements: impl IntoIterator<Item = Cow<'a, [u8]>>) -> Self {
        Self::Map(elements.into_iter().map(|element| (element, Cow::default())).collect())
    }

    /// The length of the wire form in bytes; `None` when it does not fit the guest's address space.
    pub fn encoded_len(&self) -> Option<u32> {
        match self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).ok(),
            Self::Bool(_) => Some(1),
            Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::Timestamp(_) | Self::Duration(_) => Some(8),
            Self::Map(pairs) => pairs::encoded_len(pairs),
        }
    }

    /// Writes the wire form into `out`, which has [`Self::encoded_len`] bytes.
    pub fn encode(&self, out: &mut [u8]) {
        match self {
            Self::Bytes(bytes) => out.copy_from_slice(bytes),
            Self::Int(number) | Self::Timestamp(number) | Self::Duration(number) => {
                out.copy_from_slice(&number.to_le_bytes());
            }
            Self::Uint(number) => out.copy_from_slice(&number.to_le_bytes()),
            Self::Double(number) => out.copy_from_slice(&number.to_le_bytes()),
            Self::Bool(boolean) => out.copy_from_slice(&[u8::from(*boolean)]),
            Self::Map(pairs) => pairs::encode(pairs, out),
        }
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value<'_>) -> Vec<u8> {
        let mut out = vec![0xaa; value.encoded_len().unwrap() as usize];
        value.encode(&mut out);
        out
    }

    #[test]
    fn text_is_its_bytes() {
        assert_eq!(encoded(&Value::from(&b"a\0\xff"[..])), b"a\0\xff");
        assert_eq!(encoded(&Value::from(Vec::new())), b"");
    }

    #[test]
    fn numbers_and_times_are_eight_bytes_little_endian() {
        let bytes = [8, 7, 6, 5, 4, 3, 2, 1];
        for value in [
            Value::Int(0x0102_0304_0506_0708),
            Value::Uint(0x0102_0304_0506_0708),
            Value::Double(f64::from_bits(0x0102_0304_0506_0708)),
            Value::Timestamp(0x0102_0304_0506_0708),
            Value::Duration(0x0102_0304_0506_0708),
        ] {
            assert_eq!(encoded(&value), bytes, "{value:?}");
        }
        assert_eq!(encoded(&Value::Int(-1)), [0xff; 8]);
        assert_eq!(encoded(&Value::Uint(u64::MAX)), [0xff; 8]);
    }

    #[test]
    fn a_boolean_is_one_byte() {
        assert_eq!(encoded(&Value::Bool(false)), [0]);
        assert_eq!(encoded(&Value::Bool(true)), [1]);
    }

    #[test]
    fn a_map_is_a_header_map_and_a_list_one_with_empty_values() {
        let text = |text: &'static str| Cow::from(text.as_bytes());
        let map = Value::Map(vec![(text("ab"), text("c"))]);
        assert_eq!(encoded(&map), b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0");
        assert_eq!(encoded(&Value::list([text("ab")])), b"\x01\0\0\0\x02\0\0\0\0\0\0\0ab\0\0");
        assert_eq!(encoded(&Value::Map(vec![])), [0; 4]);
    }
}
