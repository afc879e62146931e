//! The newest entries in memory, so that replication does not read back what was just written.

use std::collections::VecDeque;
use std::ops::Range;

use super::RawEntry;

/// A contiguous run of entries, bounded in bytes; the oldest go first.
#[derive(Debug)]
pub(super) struct Cache {
    entries: VecDeque<RawEntry>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub fn push(&mut self, entry: RawEntry) {
        if self.entries.back().is_some_and(|last| last.log_id.index + 1 != entry.log_id.index) {
            self.clear();
        }
        self.bytes += entry.payload.len();
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max {
            self.drop_first();
        }
    }

    pub fn get(&self, index: u64) -> Option<&RawEntry> {
        let first = self.entries.front()?.log_id.index;
        self.entries.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    /// Keeps only what lies in `range`.
    pub fn retain(&mut self, range: Range<u64>) {
        while self.entries.front().is_some_and(|first| first.log_id.index < range.start) {
            self.drop_first();
        }
        while self.entries.back().is_some_and(|last| last.log_id.index >= range.end) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= entry.payload.len();
            }
        }
    }

    fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.payload.len();
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::LogId;

    fn entry(index: u64, bytes: usize) -> RawEntry {
        RawEntry { log_id: LogId { term: 1, index }, kind: 0, payload: Bytes::from(vec![0; bytes]) }
    }

    fn held(cache: &Cache) -> Vec<u64> {
        (0..20).filter(|index| cache.get(*index).is_some()).collect()
    }

    #[test]
    fn the_oldest_go_when_it_is_full() {
        let mut cache = Cache::new(100);
        (1..6).for_each(|index| cache.push(entry(index, 30)));
        assert_eq!((held(&cache), cache.bytes), (vec![3, 4, 5], 90));
        cache.push(entry(6, 500));
        assert_eq!((held(&cache), cache.bytes), (vec![], 0), "what is larger than the cache is not kept");
    }

    #[test]
    fn it_never_has_a_gap() {
        let mut cache = Cache::new(100);
        (1..6).for_each(|index| cache.push(entry(index, 10)));
        cache.retain(2..5);
        assert_eq!((held(&cache), cache.bytes), (vec![2, 3, 4], 30));
        cache.push(entry(9, 10));
        assert_eq!((held(&cache), cache.bytes), (vec![9], 10));
    }
}
