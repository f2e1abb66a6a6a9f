//! Response bodies that plugins change: what goes on of them never differs from a length that the client was told.

/// What plugins have made of the response's `content-length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    /// Nothing: it is nginx's.
    #[default]
    Told,
    Removed,
    /// The client is not told it, for nobody knows what will be sent: docs/adr/0008.
    Declared {
        length: u64,
        /// The lineage of the plugin context that set it; `None` as long as its callback runs.
        by: Option<u64>,
    },
}

impl Length {
    /// What the plugin context of this lineage has set it to.
    pub fn declared_by(self, lineage: u64) -> Option<u64> {
        match self {
            Self::Declared { length, by: Some(by) } if by == lineage => Some(length),
            _ => None,
        }
    }
}

/// How much of a body a plugin was given, and has left, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    received: u64,
    left: u64,
    is_cut: bool,
}

/// What becomes of a chunk where the body has a length.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// So many bytes of it go on.
    Cut {
        size: usize,
        /// The plugin has not left too much before.
        is_first: bool,
    },
    /// The body has ended and is too short.
    Short,
}

impl Passed {
    /// Counts a chunk.
    pub fn add(&mut self, received: usize, left: usize) {
        self.received += received as u64;
        self.left += left as u64;
    }

    /// How much the plugin has left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Whether as much goes on as has come: then it is the length that was told.
    pub fn is_even(&self) -> bool {
        self.left == self.received
    }

    /// Holds the body to a length, after a chunk of which the plugin has left `size` bytes.
    pub fn hold_to(&mut self, length: u64, size: usize, is_last: bool) -> Verdict {
        let excess = self.left.saturating_sub(length);
        if excess > 0 {
            self.left = length;
            let is_first = !std::mem::replace(&mut self.is_cut, true);
            return Verdict::Cut { size: size.saturating_sub(excess as usize), is_first };
        }
        if is_last && self.left < length { Verdict::Short } else { Verdict::Pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(passed: &mut Passed, received: usize, left: usize, is_last: bool) -> Verdict {
        passed.add(received, left);
        passed.hold_to(12, left, is_last)
    }

    #[test]
    fn a_body_of_its_length_passes_in_whatever_parts() {
        let mut passed = Passed::default();
        assert_eq!(chunk(&mut passed, 5, 0, false), Verdict::Pass);
        assert_eq!(chunk(&mut passed, 7, 12, false), Verdict::Pass);
        assert_eq!(chunk(&mut passed, 0, 0, true), Verdict::Pass);
        assert!(passed.is_even());
    }

    #[test]
    fn what_is_too_much_is_cut_and_so_is_all_that_comes_after() {
        let mut passed = Passed::default();
        assert_eq!(chunk(&mut passed, 5, 10, false), Verdict::Pass);
        assert_eq!(chunk(&mut passed, 7, 14, false), Verdict::Cut { size: 2, is_first: true });
        assert_eq!(chunk(&mut passed, 0, 3, true), Verdict::Cut { size: 0, is_first: false });
        assert_eq!(passed.left(), 12);
    }

    #[test]
    fn a_body_is_too_short_only_at_its_end() {
        let mut passed = Passed::default();
        assert_eq!(chunk(&mut passed, 12, 3, false), Verdict::Pass);
        assert_eq!(chunk(&mut passed, 0, 0, true), Verdict::Short);
    }

    #[test]
    fn a_length_is_declared_by_one_plugin_context() {
        assert_eq!(Length::Declared { length: 3, by: Some(1) }.declared_by(1), Some(3));
        assert_eq!(Length::Declared { length: 3, by: Some(1) }.declared_by(2), None);
        assert_eq!(Length::Removed.declared_by(1), None);
    }
}
