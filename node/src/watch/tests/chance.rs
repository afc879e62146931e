//! Chance from a seed, and a count of the rare paths it led to.

use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// Paths that a test of rare paths must have taken.
const PATHS: [&str; 10] = [
    "events",
    "fragments",
    "canceled by compaction",
    "resumed",
    "slow watchers",
    "progress notices",
    "progress answers",
    "previous",
    "previous compacted",
    "readings",
];

/// How often each was taken.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    pub fn add(&mut self, path: &'static str, times: usize) {
        assert!(PATHS.contains(&path), "{path}");
        *self.0.entry(path).or_default() += times;
    }

    pub fn merge(&mut self, other: Seen) {
        other.0.into_iter().for_each(|(path, times)| self.add(path, times));
    }

    pub fn assert_all_taken(&self) {
        let is_common = |path: &&str| self.0.get(path).is_some_and(|times| *times > 100);
        assert!(PATHS.iter().all(is_common), "some path is hardly taken: {self:?}");
    }
}
