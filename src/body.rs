//! Response bodies that plugins change: what goes on of them never differs from a length that the client was told.

use std::collections::VecDeque;

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

/// How much of a body a plugin was given, and how much goes on, in bytes.
#[derive(Debug, Default)]
pub struct Passed {
    received: u64,
    sent: u64,
    /// What it has left beyond what it was given so far: more may be to come.
    early: VecDeque<u8>,
    is_cut: bool,
}

/// What becomes of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This goes on.
    Pass(Vec<u8>),
    /// As [`Self::Pass`]; for the first time the plugin has left too much.
    Cut(Vec<u8>),
    /// As [`Self::Pass`]; the body has ended and is too short.
    Short(Vec<u8>),
}

impl Passed {
    /// Counts a chunk that goes on as it has come. Returns `false` when there is more to it.
    #[inline]
    pub fn passes(&mut self, size: usize) -> bool {
        let is_even = self.sent == self.received && self.early.is_empty();
        if is_even {
            self.received += size as u64;
            self.sent += size as u64;
        }
        is_even
    }

    /// How much has gone on.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What goes on where the client was told a length: never more than has come, also where the plugin was not shown all of it,
    /// and at the end not less.
    pub fn hold_to_told(&mut self, told: u64, received: usize, left: Vec<u8>, is_last: bool) -> Verdict {
        self.received += received as u64;
        let room = usize::try_from(self.received.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let body = if self.early.is_empty() && left.len() <= room {
            left
        } else {
            self.early.extend(left);
            self.early.drain(..room.min(self.early.len())).collect()
        };
        self.sent += body.len() as u64;
        let later = if is_last { 0 } else { told.saturating_sub(self.received) };
        let is_too_much = self.early.len() as u64 > later;
        self.early.truncate(later as usize);
        self.verdict(body, is_too_much, is_last && self.sent < self.received)
    }

    /// What goes on where a plugin has set a length that the client was not told.
    pub fn hold_to_declared(&mut self, length: u64, received: usize, mut left: Vec<u8>, is_last: bool) -> Verdict {
        let room = length.saturating_sub(self.sent);
        let is_too_much = left.len() as u64 > room;
        left.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        self.received += received as u64;
        self.sent += left.len() as u64;
        self.verdict(left, is_too_much, is_last && self.sent < length)
    }

    fn verdict(&mut self, body: Vec<u8>, is_too_much: bool, is_short: bool) -> Verdict {
        if is_too_much && !std::mem::replace(&mut self.is_cut, true) {
            Verdict::Cut(body)
        } else if is_short {
            Verdict::Short(body)
        } else {
            Verdict::Pass(body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: u64 = 12;

    fn pass(text: &str) -> Verdict {
        Verdict::Pass(text.into())
    }

    fn cut(text: &str) -> Verdict {
        Verdict::Cut(text.into())
    }

    #[test]
    fn a_body_of_the_length_that_was_told_passes_however_it_is_divided() {
        let mut passed = Passed::default();
        assert!(passed.passes(2));
        assert_eq!(passed.hold_to_told(TOLD, 3, vec![], false), pass(""));
        assert!(!passed.passes(7));
        assert_eq!(passed.hold_to_told(TOLD, 7, b"0123456789".to_vec(), false), pass("0123456789"));
        assert!(passed.passes(0));
    }

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let mut passed = Passed::default();
        assert_eq!(passed.hold_to_told(TOLD, 5, b"0123456789ab".to_vec(), false), pass("01234"));
        assert_eq!(passed.hold_to_told(TOLD, 7, vec![], false), pass("56789ab"));
        assert_eq!(passed.hold_to_told(TOLD, 0, vec![], true), pass(""));
    }

    #[test]
    fn what_is_more_than_was_told_is_cut_and_so_is_all_that_comes_after() {
        let mut passed = Passed::default();
        assert_eq!(passed.hold_to_told(TOLD, 5, b"0123456789abcdef".to_vec(), false), cut("01234"));
        assert_eq!(passed.hold_to_told(TOLD, 7, b"more".to_vec(), false), pass("56789ab"));
        assert_eq!(passed.hold_to_told(TOLD, 0, b"more".to_vec(), true), pass(""));
        assert_eq!(passed.sent(), TOLD);
    }

    #[test]
    fn no_more_goes_on_than_has_come_where_the_plugin_was_shown_only_a_part() {
        // Six bytes have gone on without it.
        let mut passed = Passed::default();
        assert_eq!(passed.hold_to_told(TOLD, 6, b"0123456789ab".to_vec(), false), pass("012345"));
        assert_eq!(passed.hold_to_told(TOLD, 0, vec![], true), cut(""));
    }

    #[test]
    fn a_body_is_too_short_only_at_its_end() {
        let mut passed = Passed::default();
        assert_eq!(passed.hold_to_told(TOLD, 12, b"012".to_vec(), false), pass("012"));
        assert_eq!(passed.hold_to_told(TOLD, 0, b"3".to_vec(), true), Verdict::Short(b"3".to_vec()));
    }

    #[test]
    fn a_body_is_held_to_the_length_that_its_plugin_has_set() {
        let mut passed = Passed::default();
        assert_eq!(passed.hold_to_declared(5, 3, b"012".to_vec(), false), pass("012"));
        assert_eq!(passed.hold_to_declared(5, 9, b"3456".to_vec(), false), cut("34"));
        assert_eq!(passed.hold_to_declared(5, 0, b"7".to_vec(), true), pass(""));
        assert_eq!(Passed::default().hold_to_declared(5, 3, b"012".to_vec(), true), Verdict::Short(b"012".to_vec()));
    }

    #[test]
    fn a_length_is_declared_by_one_plugin_context() {
        assert_eq!(Length::Declared { length: 3, by: Some(1) }.declared_by(1), Some(3));
        assert_eq!(Length::Declared { length: 3, by: Some(1) }.declared_by(2), None);
        assert_eq!(Length::Removed.declared_by(1), None);
    }
}
