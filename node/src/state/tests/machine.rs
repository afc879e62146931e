//! What scripts cannot say: entries that are not commands, and commands that stop the node.

use holdfast_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};
use holdfast_proto::{log, peer};

use super::rows;
use crate::state::{self, ApplyError, Entry, EntryPayload, Machine, ReadTxnError, command};
use crate::storage::Column;
use crate::types::{LogId, Revision};

fn entry(term: u64, index: u64, payload: EntryPayload) -> Entry {
    Entry { log_id: LogId { term, index }, payload }
}

fn put(key: &'static str) -> log::Command {
    command::put(PutRequest { key: key.into(), value: "v".into(), ..Default::default() })
}

fn commands(stamped_unix_ms: u64, commands: Vec<log::Command>) -> EntryPayload {
    EntryPayload::Commands(log::Batch { stamped_unix_ms, commands })
}

#[test]
fn every_entry_moves_the_applied_position_and_stamps_never_go_back() {
    let engine = super::engine();
    let member = peer::MemberInfo { id: 3, name: "c".into(), ..Default::default() };
    let membership = peer::Membership { members: vec![member], ..Default::default() };
    let entries = [
        entry(1, 0, EntryPayload::Membership(membership.clone())),
        entry(1, 1, commands(50, vec![put("a"), put("b")])),
        entry(2, 2, EntryPayload::Blank),
        entry(2, 3, commands(40, vec![put("a")])),
    ];
    assert_eq!(state::applied(&*engine.view()).unwrap(), None);
    let effects = Machine.apply(&*engine.view(), &entries).unwrap();
    assert_eq!(effects.outcomes.iter().map(Vec::len).collect::<Vec<_>>(), [0, 2, 0, 1]);
    assert_eq!(effects.published.iter().map(|made| made.revision.0).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(effects.revision, Revision(4));
    assert_eq!(effects.membership, Some((LogId { term: 1, index: 0 }, membership.clone())));
    engine.write(effects.batch).unwrap();

    let view = engine.view();
    assert_eq!(state::applied(&*view).unwrap(), Some(LogId { term: 2, index: 3 }));
    assert_eq!(state::membership(&*view).unwrap(), Some((LogId { term: 1, index: 0 }, membership)));
    assert_eq!(state::stamped_unix_ms(&*view).unwrap(), 50);
}

#[test]
fn an_entry_out_of_order_stops_the_node() {
    let engine = super::engine();
    let first = Machine.apply(&*engine.view(), &[entry(2, 7, EntryPayload::Blank)]).unwrap();
    engine.write(first.batch).unwrap();
    for (term, index) in [(2, 7), (2, 6), (2, 9), (1, 8)] {
        let refused = Machine.apply(&*engine.view(), &[entry(term, index, EntryPayload::Blank)]);
        assert!(matches!(refused, Err(ApplyError::OutOfOrder { .. })), "<{term},{index}> after <2,7>");
    }
    assert!(Machine.apply(&*engine.view(), &[entry(3, 8, EntryPayload::Blank)]).is_ok());
}

#[test]
fn a_command_that_is_not_known_stops_the_node() {
    let engine = super::engine();
    let unknown_operation = TxnRequest { success: vec![RequestOp::default()], ..Default::default() };
    for unknown in [log::Command::default(), command::txn(unknown_operation)] {
        let entries = [entry(1, 1, commands(0, vec![put("a"), unknown]))];
        let error = Machine.apply(&*engine.view(), &entries).unwrap_err();
        assert!(matches!(error, ApplyError::UnknownCommand { log_id: LogId { term: 1, index: 1 } }), "{error}");
    }
    assert!(rows(&*engine.view(), Column::History).is_empty(), "nothing was written");
}

#[test]
fn one_put_costs_one_read_of_current_and_none_of_history() {
    let engine = super::engine();
    let view = engine.view();
    let counting = CountingView { base: &*view, reads: Default::default() };
    let batch: Vec<_> = (0..100).map(|_| put("a")).chain([put("b")]).collect();
    Machine.apply(&counting, &[entry(1, 1, commands(0, batch))]).unwrap();
    let reads = counting.reads.into_inner();
    assert_eq!(reads.get(&Column::Current), Some(&2), "the other 99 are answered by the overlay");
    assert_eq!(reads.get(&Column::History), None);
    assert_eq!(reads.get(&Column::Versions), None);
}

#[test]
fn only_what_reads_is_answered_without_the_log() {
    let engine = super::engine();
    let view = engine.view();
    let writing = super::parse::txn_of("txn then put a 1");
    assert!(matches!(state::read_txn(&*view, &writing), Err(ReadTxnError::NotReadOnly)));
    let reading = super::parse::txn_of("txn if version(a)=0 then { then get a }");
    let answer = state::read_txn(&*view, &reading).unwrap();
    assert_eq!(super::show::txn(&answer, ""), "rev 1, succeeded\n  txn: no rev, succeeded\n    get: rev 1, count 0\n");
    let future = super::parse::txn_of("txn then get a rev=5");
    assert!(matches!(state::read_txn(&*view, &future), Err(ReadTxnError::Read(_))));
}

struct CountingView<'a> {
    base: &'a dyn crate::storage::View,
    reads: std::cell::RefCell<std::collections::BTreeMap<Column, usize>>,
}

impl crate::storage::View for CountingView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<bytes::Bytes>, crate::storage::EngineError> {
        *self.reads.borrow_mut().entry(column).or_default() += 1;
        self.base.get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        scan: crate::storage::Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>,
    ) -> Result<(), crate::storage::EngineError> {
        self.base.scan(column, scan, visit)
    }
}
