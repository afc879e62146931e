//! However entries are grouped into calls of apply, the same rows and the same answers come out.

use holdfast_proto::log;

use super::random::Dice;
use super::rows;
use crate::state::{Entry, EntryPayload, Machine, Revisioned};
use crate::storage::Column;
use crate::types::LogId;

#[test]
fn entries_give_the_same_rows_one_by_one_and_in_groups() {
    let mut revisions = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let entries: Vec<Entry> = (1..=30).map(|index| entry(&mut dice, index)).collect();
        let one_by_one = outcome_of(&entries, || 1);
        let grouped = outcome_of(&entries, || 1 + dice.below(7) as usize);
        let all_at_once = outcome_of(&entries, || entries.len());
        assert!(one_by_one == grouped, "seed {seed}");
        assert!(one_by_one == all_at_once, "seed {seed}");
        revisions += one_by_one.0.published.len();
    }
    assert!(revisions > 200 * 15, "an alarm may stop a seed, but not most of them: {revisions} revisions");
}

#[derive(Default, PartialEq)]
struct Told {
    outcomes: Vec<Vec<log::Outcome>>,
    published: Vec<Revisioned>,
}

type Rows = Vec<Vec<(bytes::Bytes, bytes::Bytes)>>;

fn outcome_of(entries: &[Entry], mut group: impl FnMut() -> usize) -> (Told, Rows) {
    let engine = super::engine();
    let mut told = Told::default();
    let mut rest = entries;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(group().min(rest.len()));
        let effects = Machine.apply(&*engine.view(), now).unwrap();
        told.outcomes.extend(effects.outcomes);
        told.published.extend(effects.published);
        engine.write(effects.batch).unwrap();
        rest = later;
    }
    let view = engine.view();
    (told, Column::ALL.map(|column| rows(&*view, column)).to_vec())
}

fn entry(dice: &mut Dice, index: u64) -> Entry {
    let log_id = LogId { term: 2 + index / 10, index };
    let payload = match dice.below(10) {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Membership(Default::default()),
        _ => {
            let commands = (0..dice.below(6)).map(|_| dice.command(index as i64 * 2, log_id.term)).collect();
            EntryPayload::Commands(log::Batch { stamped_unix_ms: dice.below(1000), commands })
        }
    };
    Entry { log_id, payload }
}
