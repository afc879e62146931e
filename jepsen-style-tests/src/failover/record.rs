//! What was measured, and the file that keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FailoverError;
use super::event::Event;

/// One round of one event on one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The longest time without an acknowledged write.
    pub outage_us: u64,
    pub acknowledged: u64,
    /// Told that it was not executed.
    pub failed: u64,
    /// Told that nobody knows.
    pub unknown: u64,
    /// Requests that took longer than [`super::stream::HANGS`], however they ended.
    pub hung: u64,
    pub slowest_ms: u64,
    /// The machine's load average when the round ended.
    pub load: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// Name and version, for people.
    pub label: String,
    pub is_etcd: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub contenders: Vec<Contender>,
    pub every_ms: u64,
    pub fault_ms: u64,
    /// By event, then by contender in the order above.
    pub rounds: BTreeMap<Event, Vec<Vec<Round>>>,
    /// Machine and build, as lines for people.
    pub circumstances: Vec<String>,
}

/// Sums and percentiles over the rounds of one event on one server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub rounds: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub requests: u64,
    pub failed: u64,
    pub unknown: u64,
    pub hung: u64,
    pub slowest_ms: u64,
}

impl Summary {
    /// None if there are no rounds.
    pub fn of(rounds: &[Round]) -> Option<Self> {
        let outages = sorted_ms(rounds);
        let at = |percent: usize| outages.get((outages.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let sum = |part: fn(&Round) -> u64| rounds.iter().map(part).sum::<u64>();
        Some(Self {
            rounds: rounds.len(),
            p50_ms: at(50)?,
            p99_ms: at(99)?,
            max_ms: *outages.last()?,
            requests: sum(|round| round.acknowledged + round.failed + round.unknown),
            failed: sum(|round| round.failed),
            unknown: sum(|round| round.unknown),
            hung: sum(|round| round.hung),
            slowest_ms: rounds.iter().map(|round| round.slowest_ms).max()?,
        })
    }

    pub fn success_percent(&self) -> f64 {
        100.0 * (self.requests - self.failed - self.unknown) as f64 / self.requests.max(1) as f64
    }
}

pub fn sorted_ms(rounds: &[Round]) -> Vec<f64> {
    let mut outages: Vec<f64> = rounds.iter().map(|round| round.outage_us as f64 / 1000.0).collect();
    outages.sort_by(f64::total_cmp);
    outages
}

impl Record {
    /// What the file has, or nothing yet.
    pub fn open(path: Option<&Path>, fresh: Self) -> Result<Self, FailoverError> {
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(fresh) };
        let text = std::fs::read(path).map_err(|source| FailoverError::File { path: path.to_owned(), source })?;
        let old: Self =
            serde_json::from_slice(&text).map_err(|source| FailoverError::Record { path: path.to_owned(), source })?;
        let what = |record: &Self| {
            let labels: Vec<_> = record.contenders.iter().map(|contender| contender.label.as_str()).collect();
            format!(
                "{} with a write every {} ms and faults of {} ms",
                labels.join(", "),
                record.every_ms,
                record.fault_ms
            )
        };
        let (there, here) = (what(&old), what(&fresh));
        if there != here {
            return Err(FailoverError::OtherServers { path: path.to_owned(), there, here });
        }
        Ok(old)
    }

    /// Something is measured now, under these circumstances too.
    pub fn note(&mut self, circumstances: &[String]) {
        let missing: Vec<String> =
            circumstances.iter().filter(|line| !self.circumstances.contains(line)).cloned().collect();
        self.circumstances.extend(missing);
    }

    pub fn save(&self, path: Option<&Path>) -> Result<(), FailoverError> {
        let Some(path) = path else { return Ok(()) };
        let text =
            serde_json::to_vec(self).map_err(|source| FailoverError::Record { path: path.to_owned(), source })?;
        std::fs::write(path, text).map_err(|source| FailoverError::File { path: path.to_owned(), source })
    }

    pub fn of(&self, event: Event, contender: usize) -> &[Round] {
        self.rounds.get(&event).and_then(|rounds| rounds.get(contender)).map_or(&[], Vec::as_slice)
    }

    pub fn push(&mut self, event: Event, contender: usize, round: Round) {
        let all = self.rounds.entry(event).or_default();
        all.resize(self.contenders.len(), Vec::new());
        all[contender].push(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(outage_ms: u64) -> Round {
        let outage_us = outage_ms * 1000;
        Round { outage_us, acknowledged: 98, failed: 1, unknown: 1, hung: 1, slowest_ms: outage_ms, load: 0.5 }
    }

    #[test]
    fn sums_and_percentiles() {
        let rounds: Vec<Round> = (1..=100).rev().map(round).collect();
        let summary = Summary::of(&rounds).expect("there are rounds");
        assert_eq!((summary.p50_ms, summary.p99_ms, summary.max_ms), (50.0, 99.0, 100.0));
        assert_eq!((summary.requests, summary.failed, summary.unknown, summary.hung), (10_000, 100, 100, 100));
        assert_eq!(summary.slowest_ms, 100);
        assert!((summary.success_percent() - 98.0).abs() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_record_goes_on_and_is_not_mixed_with_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record.json");
        let fresh = |label: &str| Record {
            contenders: vec![Contender { label: label.to_owned(), is_etcd: false }],
            every_ms: 5,
            fault_ms: 3000,
            rounds: BTreeMap::new(),
            circumstances: Vec::new(),
        };
        let mut record = Record::open(Some(&path), fresh("one")).expect("nothing is there yet");
        record.push(Event::CutIn, 0, round(7));
        record.save(Some(&path)).expect("saved");
        let again = Record::open(Some(&path), fresh("one")).expect("the same");
        assert_eq!(again.of(Event::CutIn, 0), [round(7)]);
        record.note(&["here".to_owned()]);
        record.note(&["here".to_owned(), "later".to_owned()]);
        assert_eq!(record.circumstances, ["here", "later"]);
        let other = Record::open(Some(&path), fresh("two"));
        assert!(matches!(other, Err(FailoverError::OtherServers { .. })));
    }
}
