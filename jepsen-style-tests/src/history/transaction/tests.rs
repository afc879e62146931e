//! Answers that a store could give, and for each rule one that it could not.

use super::*;
use crate::checker::linearizable::{Verdict, check};
use crate::history::Process;

fn found(value: u64, version: i64, created: i64, modified: i64) -> Outcome {
    Outcome::Got(Some(Found { value, version, created, modified }))
}

fn put(key: Key, value: u64, at: i64) -> Action {
    let txn = Txn { success: vec![Op::Put(key, value)], ..Txn::default() };
    Action { txn, at: Some(at), answer: Some(Answer { succeeded: true, outcomes: vec![Outcome::Put] }) }
}

fn test(key: Key, sign: Sign, subject: Subject) -> Test {
    Test { key, sign, subject }
}

/// Reads key 0 if the test passes, and puts key 1 otherwise.
fn answered(of: Test, succeeded: bool, outcome: Outcome, at: i64) -> Action {
    let txn = Txn { tests: vec![of], success: vec![Op::Get(0)], failure: vec![Op::Put(1, 99)] };
    Action { txn, at: Some(at), answer: Some(Answer { succeeded, outcomes: vec![outcome] }) }
}

fn is_right(actions: Vec<Action>) -> bool {
    let operation = |(at, action): (usize, Action)| {
        let (called, returned) = (2 * at, Some(2 * at + 1));
        Operation { process: Process(0), action, fate: Fate::Ok, called, returned, line: at }
    };
    let operations: Vec<_> = actions.into_iter().enumerate().map(operation).collect();
    check(&Transactions, &operations, 10_000) == Verdict::Linearizable
}

#[test]
fn comparisons_look_at_values_versions_and_revisions() {
    let read = || found(7, 1, 5, 5);
    for right in [
        test(0, Sign::Equal, Subject::Value(7)),
        test(0, Sign::NotEqual, Subject::Value(8)),
        test(0, Sign::Greater, Subject::Version(0)),
        test(0, Sign::Less, Subject::Version(2)),
        test(0, Sign::Equal, Subject::Modified(5)),
        test(1, Sign::Equal, Subject::Version(0)),
        test(1, Sign::Equal, Subject::Modified(0)),
    ] {
        assert!(is_right(vec![put(0, 7, 5), answered(right, true, read(), 5)]), "{right}");
        assert!(!is_right(vec![put(0, 7, 5), answered(right, false, Outcome::Put, 6)]), "not {right}");
    }
    // Nothing has no value, neither this one nor another.
    for wrong in [test(1, Sign::Equal, Subject::Value(7)), test(1, Sign::NotEqual, Subject::Value(7))] {
        assert!(is_right(vec![put(0, 7, 5), answered(wrong, false, Outcome::Put, 6)]), "{wrong}");
    }
}

#[test]
fn what_is_read_and_at_which_revision_must_fit() {
    let always = test(2, Sign::Equal, Subject::Version(0));
    let read = |outcome, at| is_right(vec![put(0, 7, 5), answered(always, true, outcome, at)]);
    assert!(read(found(7, 1, 5, 5), 5) && read(found(7, 1, 5, 5), 8));
    assert!(!read(found(8, 1, 5, 5), 5) && !read(found(7, 2, 5, 5), 5));
    assert!(!read(found(7, 1, 4, 5), 5) && !read(found(7, 1, 5, 6), 6) && !read(Outcome::Got(None), 5));
    assert!(!read(found(7, 1, 5, 5), 4), "the store is behind its key");
    assert!(!is_right(vec![put(0, 7, 5), put(1, 8, 5)]), "a revision twice");
}

#[test]
fn nested_comparisons_look_at_the_state_before_and_operations_at_one_another() {
    let nested = Txn {
        tests: vec![test(0, Sign::Equal, Subject::Version(0))],
        success: vec![Op::Get(0)],
        failure: vec![Op::Delete(1)],
    };
    let txn = Txn { success: vec![Op::Put(0, 7), Op::Nested(Box::new(nested))], ..Txn::default() };
    let action = |succeeded, outcome| {
        let inner = Answer { succeeded, outcomes: vec![outcome] };
        let answer = Answer { succeeded: true, outcomes: vec![Outcome::Put, Outcome::Nested(inner)] };
        vec![Action { txn: txn.clone(), at: Some(5), answer: Some(answer) }]
    };
    assert!(is_right(action(true, found(7, 1, 5, 5))));
    assert!(!is_right(action(true, Outcome::Got(None))), "an operation sees those before it");
    assert!(!is_right(action(false, Outcome::Deleted(false))), "a comparison does not");
}

#[test]
fn a_transaction_of_unknown_fate_is_known_by_what_was_read_of_it() {
    let write = Txn { success: vec![Op::Put(0, 7), Op::Put(1, 8)], ..Txn::default() };
    let read = Txn { success: vec![Op::Get(1)], ..Txn::default() };
    let answer = Answer { succeeded: true, outcomes: vec![found(8, 1, 6, 6)] };
    let of = |action, fate, called| {
        let action = OfObject { object: "o".to_owned(), action };
        Operation { process: Process(0), action, fate, called, returned: Some(called + 1), line: 0 }
    };
    let mut operations = [
        of(Action { txn: write, at: None, answer: None }, Fate::Unknown, 0),
        of(Action { txn: read, at: Some(6), answer: Some(answer) }, Fate::Ok, 2),
    ];
    resolve(&mut operations).expect("no value is read at two revisions");
    assert_eq!(operations[0].action.action.at, Some(6));
}
