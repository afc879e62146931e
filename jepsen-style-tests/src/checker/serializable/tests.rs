//! Histories that a serial store could have answered, and one for each anomaly that it could not.

use super::*;
use crate::history::Process;

fn append(key: &str, element: Element) -> Step {
    Step::Append { key: key.to_owned(), element }
}

fn read(key: &str, seen: &[Element]) -> Step {
    Step::Read { key: key.to_owned(), seen: Some(seen.to_vec()) }
}

/// All at once, so that real time says nothing.
fn at_once(transactions: Vec<Vec<Step>>) -> Vec<Operation<Vec<Step>>> {
    let count = transactions.len();
    let operation = |(at, action)| Operation {
        process: Process(at as u64),
        action,
        fate: Fate::Ok,
        called: at,
        returned: Some(count + at),
        line: 0,
    };
    transactions.into_iter().enumerate().map(operation).collect()
}

fn one_after_another(transactions: Vec<Vec<Step>>) -> Vec<Operation<Vec<Step>>> {
    let mut operations = at_once(transactions);
    for (at, operation) in operations.iter_mut().enumerate() {
        (operation.called, operation.returned) = (2 * at, Some(2 * at + 1));
    }
    operations
}

fn kind(transactions: &[Operation<Vec<Step>>], order: Order) -> Option<Kind> {
    match &check(transactions, order)[..] {
        [] => None,
        [Anomaly::Cycle(cycle)] => {
            let ends: Vec<usize> = cycle.edges.iter().map(|edge| edge.to).collect();
            let mut starts: Vec<usize> = cycle.edges.iter().map(|edge| edge.from).collect();
            starts.rotate_left(1);
            assert_eq!(starts, ends, "{cycle} is no cycle");
            Some(cycle.kind)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_serial_has_no_anomaly() {
    let history = one_after_another(vec![
        vec![append("x", 1), append("y", 1)],
        vec![read("x", &[1]), append("x", 2), append("x", 3), read("x", &[1, 2, 3])],
        vec![read("y", &[1]), read("x", &[1, 2, 3]), append("y", 2)],
        vec![read("x", &[1, 2, 3]), read("y", &[1, 2])],
    ]);
    assert_eq!(check(&history, Order::RealTime), []);
}

#[test]
fn each_cycle_has_its_name() {
    let g0 = at_once(vec![
        vec![append("x", 1), append("y", 1)],
        vec![append("x", 2), append("y", 2)],
        vec![read("x", &[1, 2])],
        vec![read("y", &[2, 1])],
    ]);
    assert_eq!(kind(&g0, Order::Free), Some(Kind::G0));
    let g1c = at_once(vec![vec![append("x", 1), read("y", &[1])], vec![append("y", 1), read("x", &[1])]]);
    assert_eq!(kind(&g1c, Order::Free), Some(Kind::G1c));
    let lost_update = at_once(vec![
        vec![read("x", &[]), append("x", 1)],
        vec![read("x", &[]), append("x", 2)],
        vec![read("x", &[1, 2])],
    ]);
    assert_eq!(kind(&lost_update, Order::Free), Some(Kind::GSingle));
    let write_skew = at_once(vec![
        vec![read("x", &[]), append("y", 1)],
        vec![read("y", &[]), append("x", 1)],
        vec![read("x", &[1]), read("y", &[1])],
    ]);
    assert_eq!(kind(&write_skew, Order::Free), Some(Kind::G2));
    let shown = check(&write_skew, Order::Free)[0].to_string();
    assert_eq!(shown, "G2: T0 -rw(x: without 1)-> T1 -rw(y: without 1)-> T0");
}

#[test]
fn a_stale_read_is_wrong_only_in_real_time() {
    let history = one_after_another(vec![vec![append("x", 1)], vec![read("x", &[])], vec![read("x", &[1])]]);
    assert_eq!(kind(&history, Order::Free), None);
    assert_eq!(kind(&history, Order::RealTime), Some(Kind::GSingle));
}

#[test]
fn an_append_that_nobody_sees_any_more_is_found() {
    let history = one_after_another(vec![vec![append("x", 1)], vec![append("x", 2)], vec![read("x", &[1])]]);
    assert_eq!(kind(&history, Order::RealTime), Some(Kind::GSingle));
    let mut unknown = history;
    unknown[1].fate = Fate::Unknown;
    assert_eq!(kind(&unknown, Order::RealTime), None);
}

#[test]
fn reads_that_no_transaction_explains_are_named() {
    let mut failed = at_once(vec![vec![append("x", 1)], vec![read("x", &[1])]]);
    assert_eq!(check(&failed, Order::Free), []);
    failed[0].fate = Fate::Failed;
    assert!(matches!(check(&failed, Order::Free)[0], Anomaly::G1a { reader: 1, writer: 0, element: 1, .. }));
    let half = at_once(vec![vec![append("x", 1), append("x", 2)], vec![read("x", &[1])], vec![read("x", &[1, 2])]]);
    let found = check(&half, Order::Free);
    assert!(matches!(found[0], Anomaly::G1b { reader: 1, writer: 0, element: 1, .. }), "{found:?}");
    let first = |transactions| check(&at_once(transactions), Order::Free).into_iter().next();
    let key = || "x".to_owned();
    let nowhere = first(vec![vec![read("x", &[9])]]);
    assert_eq!(nowhere, Some(Anomaly::FromNowhere { reader: 0, key: key(), element: 9 }));
    let twice = first(vec![vec![append("x", 1)], vec![read("x", &[1, 1])]]);
    assert_eq!(twice, Some(Anomaly::SeenTwice { reader: 1, key: key(), element: 1 }));
    let again = first(vec![vec![append("x", 1)], vec![append("x", 1)]]);
    assert_eq!(again, Some(Anomaly::AppendedTwice { key: key(), element: 1 }));
    let own = first(vec![vec![append("x", 1), read("x", &[])]]);
    assert_eq!(own, Some(Anomaly::Internal { reader: 0, key: key() }));
    let orders =
        first(vec![vec![append("x", 1)], vec![append("x", 2)], vec![read("x", &[1, 2])], vec![read("x", &[2])]]);
    assert_eq!(orders, Some(Anomaly::NoOneOrder { readers: [2, 3], key: key() }));
}
