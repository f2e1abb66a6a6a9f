//! Upper case letters in header names, which hyper does not keep.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

/// The names of a request's headers as they were given, in the order in which hyper writes them: that of a [`HeaderMap`] into
/// which the same names were put in the same order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spelling(HeaderMap<Bytes>);

impl Spelling {
    /// `None` when the map is full.
    pub(crate) fn append(&mut self, name: &HeaderName, spelled: &[u8]) -> Option<()> {
        self.0.try_append(name.clone(), Bytes::copy_from_slice(spelled)).ok().map(drop)
    }

    /// Puts the spelled names over those of the request head that the bytes begin with. Lines that hyper added stay as they
    /// are.
    pub(crate) fn write_over(&self, bytes: &mut [u8]) {
        let mut names = self.0.values().peekable();
        let mut line_start = line_length(bytes);
        while let Some(spelled) = names.peek() {
            let line = &mut bytes[line_start..];
            let length = line_length(line);
            if length <= b"\r\n".len() {
                return;
            }
            if is_header(line, spelled) {
                line[..spelled.len()].copy_from_slice(spelled);
                names.next();
            }
            line_start += length;
        }
    }
}

/// The length of the first line with its line feed.
fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |position| position + 1)
}

fn is_header(line: &[u8], name: &[u8]) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}
