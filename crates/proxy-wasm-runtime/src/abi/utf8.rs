use std::{borrow::Cow, fmt::Write};

/// Text in which each byte that is no UTF-8 is written as `%XX`. What is UTF-8, a `%` among it, stays as it is.
pub fn escape_invalid(bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if str::from_utf8(&bytes).is_ok() {
        return bytes;
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // A String takes whatever is written.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> Vec<u8> {
        escape_invalid(Cow::Borrowed(bytes)).into_owned()
    }

    #[test]
    fn valid_text_stays_as_it_is() {
        for text in ["", "plain", "100%", "größe", "\u{10ffff}", "a\0b"] {
            assert!(
                matches!(escape_invalid(Cow::Borrowed(text.as_bytes())), Cow::Borrowed(same) if same == text.as_bytes())
            );
        }
    }

    #[test]
    fn each_byte_that_is_none_is_written_out() {
        assert_eq!(escaped(b"a\xffb"), b"a%FFb");
        assert_eq!(escaped(b"\xc3"), b"%C3");
        assert_eq!(escaped(b"\xe2\x82x\xc0\xaf"), b"%E2%82x%C0%AF");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_always_text(bytes: Vec<u8>) {
            prop_assert!(String::from_utf8(escaped(&bytes)).is_ok());
        }
    }
}
