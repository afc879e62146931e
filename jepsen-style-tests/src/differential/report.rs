//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;

use super::known::{ETCD_ENDED, ETCD_REMEMBERS, KNOWN, Known};

#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By the name of the step.
    pub steps: BTreeMap<&'static str, Count>,
    /// By the name of the difference.
    pub known: BTreeMap<&'static str, u64>,
    pub rounds: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub asked: u64,
    pub refused: u64,
}

impl Report {
    pub fn requests(&self) -> u64 {
        self.steps.values().map(|count| count.asked).sum()
    }

    pub fn note(&mut self, step: &'static str, is_refused: bool) {
        let count = self.steps.entry(step).or_default();
        count.asked += 1;
        count.refused += u64::from(is_refused);
    }

    pub fn note_known(&mut self, known: &Known) {
        *self.known.entry(known.name).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18}{:>9}{:>9}", "request", "asked", "refused")?;
        for (name, count) in &self.steps {
            writeln!(f, "{name:<18}{:>9}{:>9}", count.asked, count.refused)?;
        }
        let refused: u64 = self.steps.values().map(|count| count.refused).sum();
        writeln!(f, "{:<18}{:>9}{refused:>9}   in {} rounds", "all", self.requests(), self.rounds)?;
        for known in
            KNOWN.iter().chain([&ETCD_ENDED, &ETCD_REMEMBERS]).filter(|known| self.known.contains_key(known.name))
        {
            writeln!(f, "known difference, {} times: {}: {}", self.known[known.name], known.name, known.reason)?;
        }
        Ok(())
    }
}
