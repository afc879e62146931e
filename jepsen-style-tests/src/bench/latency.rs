//! Latencies of one run. All of them are kept, so percentiles are exact: a few seconds of requests are a few hundred
//! kilobytes, and a push is the cheapest thing a generator that shares the cores can do.

use std::time::Duration;

use serde::Serialize;

/// Microseconds; 32 bits of them are more than an hour.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    micros: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50_us: u32,
    pub p99_us: u32,
    pub max_us: u32,
}

impl Latencies {
    pub fn push(&mut self, took: Duration) {
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn append(&mut self, mut other: Self) {
        self.micros.append(&mut other.micros);
    }

    /// Zeros when there are none.
    pub fn percentiles(mut self) -> Percentiles {
        self.micros.sort_unstable();
        Percentiles { p50_us: self.at(50), p99_us: self.at(99), max_us: self.micros.last().copied().unwrap_or(0) }
    }

    /// The smallest latency that this share of all requests did not exceed.
    fn at(&self, percent: usize) -> u32 {
        let rank = (self.micros.len() * percent).div_ceil(100);
        self.micros.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact() {
        let mut one = Latencies::default();
        (1..=100).rev().for_each(|micros| one.push(Duration::from_micros(micros)));
        let mut all = Latencies::default();
        all.append(one);
        assert_eq!(all.percentiles(), Percentiles { p50_us: 50, p99_us: 99, max_us: 100 });
    }

    #[test]
    fn few_and_none() {
        let mut one = Latencies::default();
        one.push(Duration::from_secs(7200));
        assert_eq!(one.percentiles(), Percentiles { p50_us: u32::MAX, p99_us: u32::MAX, max_us: u32::MAX });
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
    }
}
