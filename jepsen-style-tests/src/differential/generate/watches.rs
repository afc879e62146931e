//! Watch streams: a few at a time, each with a few watchers.

use holdfast_proto::etcdserverpb as pb;

use super::Generator;
use crate::differential::watching::WatchStep;

const STREAMS_MAX: usize = 3;
const WATCHERS_MAX: usize = 6;

/// What the generator knows of the streams: enough to ask about watchers that exist.
#[derive(Default)]
pub(super) struct Streams {
    open: Vec<Stream>,
    /// Streams are numbered through.
    next: usize,
}

struct Stream {
    number: usize,
    created: usize,
}

impl Generator {
    pub(super) fn watch_step(&mut self) -> WatchStep {
        if self.streams.open.is_empty() || (self.streams.open.len() < STREAMS_MAX && self.chance.percent(8)) {
            let number = self.streams.next;
            self.streams.next += 1;
            self.streams.open.push(Stream { number, created: 0 });
            return WatchStep::Open { stream: number };
        }
        let at = self.chance.below(self.streams.open.len());
        let is_full = self.streams.open[at].created >= WATCHERS_MAX;
        let number = self.streams.open[at].number;
        match self.chance.weighted(&[if is_full { 0 } else { 50 }, 15, 10, if is_full { 30 } else { 2 }, 8]) {
            0 => self.create(at),
            1 => {
                let watch_id = self.chance.pick(&[0, 1, 2, 3, 100, 101, 102, 103, -1, 55]);
                WatchStep::Cancel { stream: number, watch_id }
            }
            2 => WatchStep::Progress { stream: number },
            3 => {
                self.streams.open.remove(at);
                WatchStep::Close { stream: number }
            }
            _ => WatchStep::Settle,
        }
    }

    fn create(&mut self, at: usize) -> WatchStep {
        let (key, range_end) = self.keys();
        // Negative revisions and ids are left out: etcd 3.5.1 lets them in, later versions and Holdfast do not.
        let start_revision = if self.chance.percent(50) { 0 } else { self.some_revision().max(0) };
        // At the compacted revision itself etcd before 3.5.18 may or may not have the deletions still.
        let start_revision = if start_revision == self.compacted { start_revision + 1 } else { start_revision };
        let number = self.streams.open[at].created;
        let watch_id = match self.chance.weighted(&[70, 20, 8, 2]) {
            0 => 0,
            1 => 100 + i64::try_from(number).unwrap_or(0),
            2 => self.chance.between(100, 106),
            _ => i64::MAX,
        };
        let request = pb::WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify: self.chance.percent(10),
            filters: (0..self.chance.weighted(&[70, 20, 10])).map(|_| self.enumerated(1)).collect(),
            prev_kv: self.chance.percent(40),
            watch_id,
            fragment: self.chance.percent(30),
        };
        let stream = &mut self.streams.open[at];
        stream.created += 1;
        WatchStep::Create { stream: stream.number, request }
    }
}
