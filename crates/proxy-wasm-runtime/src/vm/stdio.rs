use crate::abi::LogLevel;

/// How much of a line without an end is kept, in bytes; longer lines are logged in parts.
const LONGEST_LINE: usize = 4096;

/// What the guest wrote to stdout and stderr and is not logged yet: the last line of each, while it has no end.
///
/// Guests write a line in pieces (a Go panic word by word), the log has whole lines.
#[derive(Default)]
pub(crate) struct Stdio {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Stdio {
    /// Takes what was written to `fd` and hands over each line that is complete, without its end.
    /// Returns `false` when `fd` is neither stdout (1) nor stderr (2).
    pub fn write(&mut self, fd: u32, bytes: &[u8], mut log: impl FnMut(LogLevel, &[u8])) -> bool {
        let (pending, level) = match fd {
            1 => (&mut self.out, LogLevel::Info),
            2 => (&mut self.err, LogLevel::Error),
            _ => return false,
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            pending.extend_from_slice(piece);
            if let Some(line) = pending.strip_suffix(b"\n") {
                log(level, line);
                pending.clear();
            } else if pending.len() >= LONGEST_LINE {
                log(level, pending);
                pending.clear();
            }
        }
        true
    }

    /// Hands over what has no end of line.
    pub fn flush(&mut self, mut log: impl FnMut(LogLevel, &[u8])) {
        for (pending, level) in [(&mut self.out, LogLevel::Info), (&mut self.err, LogLevel::Error)] {
            if !pending.is_empty() {
                log(level, pending);
                pending.clear();
            }
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.err.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: &[(u32, &str)]) -> Vec<(LogLevel, String)> {
        let mut lines = Vec::new();
        let mut stdio = Stdio::default();
        let mut log = |level, line: &[u8]| lines.push((level, String::from_utf8_lossy(line).into_owned()));
        for (fd, text) in writes {
            assert!(stdio.write(*fd, text.as_bytes(), &mut log));
        }
        stdio.flush(&mut log);
        assert!(stdio.is_empty());
        lines
    }

    #[test]
    fn a_line_written_in_pieces_is_logged_once() {
        assert_eq!(
            lines(&[(2, "pan"), (2, "ic: "), (2, "x\nsecond")]),
            [(LogLevel::Error, "panic: x".into()), (LogLevel::Error, "second".into())]
        );
    }

    #[test]
    fn stdout_and_stderr_do_not_mix() {
        assert_eq!(
            lines(&[(1, "a"), (2, "b\n"), (1, "c\n")]),
            [(LogLevel::Error, "b".into()), (LogLevel::Info, "ac".into())]
        );
    }

    #[test]
    fn an_endless_line_is_logged_in_parts() {
        let long = "x".repeat(LONGEST_LINE);
        assert_eq!(lines(&[(1, &long), (1, "y")]), [(LogLevel::Info, long), (LogLevel::Info, "y".into())]);
    }

    #[test]
    fn other_descriptors_are_refused() {
        assert!(!Stdio::default().write(0, b"x", |_, _| unreachable!()));
        assert!(!Stdio::default().write(3, b"x", |_, _| unreachable!()));
    }
}
