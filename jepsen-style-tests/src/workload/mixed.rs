//! Several workloads at once, on one store: what one does must not disturb what another was promised.
//!
//! All but those that would: compaction drops the history that watches are judged by.

use futures::future::BoxFuture;

use super::{Kind, Stage, Workload};
use crate::history::Tally;
use crate::report::Violation;

const PARTS: [Kind; 7] = [Kind::Register, Kind::Set, Kind::ListAppend, Kind::Txn, Kind::Watch, Kind::Lease, Kind::Lock];

pub struct Mixed {
    parts: Vec<(Kind, Box<dyn Workload>)>,
}

/// Each part has few clients: together they are many.
fn with_fewer_clients(stage: &Stage) -> Stage {
    Stage { clients: stage.clients.div_ceil(2).clamp(1, 2), ..stage.clone() }
}

impl Mixed {
    pub fn new(stage: &Stage) -> Self {
        Self { parts: PARTS.into_iter().map(|kind| (kind, kind.build(stage))).collect() }
    }
}

impl Workload for Mixed {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let stage = with_fewer_clients(stage);
        self.parts.iter().flat_map(|(_, part)| part.clients(&stage)).collect()
    }

    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let stage = with_fewer_clients(stage);
        let looks: Vec<BoxFuture<'static, ()>> = self.parts.iter().map(|(_, part)| part.last_look(&stage)).collect();
        Box::pin(async move {
            for look in looks {
                look.await;
            }
        })
    }

    fn judge(&self) -> Vec<Violation> {
        self.parts.iter().flat_map(|(_, part)| part.judge()).collect()
    }

    fn tally(&self) -> Tally {
        self.parts.iter().fold(Tally::default(), |tally, (_, part)| tally.and(part.tally()))
    }

    fn notes(&self) -> Vec<String> {
        let notes = |(kind, part): &(Kind, Box<dyn Workload>)| {
            let name = kind.name();
            part.notes().into_iter().map(move |note| format!("{name}: {note}")).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(notes).collect()
    }
}
