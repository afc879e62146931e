//! Counting what applied entries did, and how many keys there are.
//!
//! Keys are counted once, in the background, and then kept up to date by events. The count and the events before it
//! must not be mixed up: the view that is counted is taken while the state stands still, together with the sum of the
//! events so far.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_proto::log;
use parking_lot::Mutex;

use crate::lease::LeaseChange;
use crate::metrics::StateMetrics;
use crate::mvcc::EventKind;
use crate::rt;
use crate::state::Effects;
use crate::storage::{Column, Scan, Store};

/// The counters of one state.
pub struct Tally {
    pub metrics: StateMetrics,
    /// A count that was begun before the state was replaced is of no use.
    count: Arc<AtomicU64>,
}

impl Tally {
    pub fn new(metrics: StateMetrics) -> Self {
        Self { metrics, count: Arc::default() }
    }

    /// After effects were committed.
    pub fn note(&self, effects: &Effects) {
        let metrics = &self.metrics;
        let events = effects.published.iter().flat_map(|revisioned| &revisioned.events);
        for event in events {
            metrics.events.inc();
            match event.kind {
                EventKind::Put => {
                    metrics.puts.inc();
                    metrics.put_bytes.inc_by((event.key.len() + event.value.len()) as u64);
                    metrics.keys.add(i64::from(event.version == 1));
                }
                EventKind::Delete => {
                    metrics.deletes.inc();
                    metrics.keys.dec();
                }
            }
        }
        for change in &effects.lease_changes {
            match change {
                LeaseChange::Granted { .. } => metrics.leases_granted.inc(),
                LeaseChange::Revoked { .. } => metrics.leases_revoked.inc(),
            }
        }
        for outcome in effects.outcomes.iter().flatten() {
            match &outcome.result {
                Some(log::outcome::Result::Txn(_)) => metrics.txns.inc(),
                Some(log::outcome::Result::LeaseExpire(expired)) => {
                    metrics.leases_expired.inc_by(expired.lease_ids.len() as u64);
                }
                _ => {}
            }
        }
    }

    /// Counts all keys again. `changing` is held over each change of the state.
    pub fn count_keys(&self, store: &Store, changing: &Arc<Mutex<()>>) {
        let (engine, changing, keys) = (store.engine(), Arc::clone(changing), self.metrics.keys.clone());
        let count = Arc::clone(&self.count);
        let mine = count.fetch_add(1, Ordering::SeqCst) + 1;
        keys.set(0);
        rt::spawn(async move {
            let counted = rt::blocking(move || {
                let standing_still = changing.lock();
                let (view, noted) = (engine.view(), keys.get());
                drop(standing_still);
                let mut found = 0_i64;
                let all = Scan { from: b"", to: None, backwards: false };
                let scanned = view.scan(Column::Current, all, &mut |_, _| {
                    found += 1;
                    ControlFlow::Continue(())
                });
                drop(view);
                if scanned.is_ok() && count.load(Ordering::SeqCst) == mine {
                    keys.add(found - noted);
                }
            });
            // A node that stops needs no count; damage is found and told by those who read for clients.
            let _stopping = counted.await;
        });
    }
}
