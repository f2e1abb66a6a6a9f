use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

/// How long a refusal is remembered. The guest may have refused for a reason that passes.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many are.
const MOST: usize = 64;

/// Configurations that a plugin has refused: a proxy may ask again with each request.
#[derive(Default)]
pub(super) struct Refusals(VecDeque<(Instant, [u8; 32])>);

impl Refusals {
    /// Whether this configuration was refused of late.
    pub fn contain(&mut self, configuration: &[u8]) -> bool {
        self.0.retain(|(since, _)| since.elapsed() < REMEMBERED);
        !self.0.is_empty() && {
            let digest: [u8; 32] = Sha256::digest(configuration).into();
            self.0.iter().any(|(_, other)| *other == digest)
        }
    }

    /// Remembers a refusal, in the place of the oldest if there are many.
    pub fn add(&mut self, configuration: &[u8]) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now(), Sha256::digest(configuration).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_its_time_and_its_configuration() {
        let mut refusals = Refusals::default();
        assert!(!refusals.contain(b"conf"));
        refusals.add(b"conf");
        assert!(refusals.contain(b"conf") && !refusals.contain(b"other"));
        refusals.0[0].0 -= REMEMBERED;
        assert!(!refusals.contain(b"conf"));
        assert!(refusals.0.is_empty());
    }

    #[test]
    fn there_are_no_more_than_some() {
        let mut refusals = Refusals::default();
        (0..=MOST).for_each(|n| refusals.add(&n.to_le_bytes()));
        assert_eq!(refusals.0.len(), MOST);
        assert!(!refusals.contain(&0_usize.to_le_bytes()) && refusals.contain(&MOST.to_le_bytes()));
    }
}
