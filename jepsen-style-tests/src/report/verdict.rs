//! A verdict on a history, in words and as a picture of the object that it is about.

use std::fmt;

use super::Violation;
use crate::checker::linearizable::{Explanation, Verdict};
use crate::history::{Operation, picture};

const PROPERTY: &str = "linearizable";

/// What a history is guilty of, if anything. `object` names the object of an action, `judge` is the checker; undecided
/// is a violation.
pub fn of_verdict<A: Clone + fmt::Display>(
    operations: &[Operation<A>],
    object: impl Fn(&A) -> &str,
    judge: impl Fn(&[Operation<A>]) -> Verdict,
) -> Option<Violation> {
    match judge(operations) {
        Verdict::Linearizable => None,
        Verdict::Undecided { configurations } => {
            let what = format!("undecided after {configurations} configurations of one object");
            Some(Violation::of(PROPERTY, what))
        }
        Verdict::NotLinearizable(explanation) => {
            let stuck = &operations[explanation.stuck];
            let name = object(&stuck.action);
            // Alone, so that the picture shows nothing else.
            let alone: Vec<Operation<A>> =
                operations.iter().filter(|one| object(&one.action) == name).cloned().collect();
            let picture = picture::svg(name, &alone, &judge(&alone));
            let mut violation = Violation::of(PROPERTY, why(stuck, &explanation));
            violation.picture = Some(picture);
            Some(violation)
        }
    }
}

fn why<A: fmt::Display>(stuck: &Operation<A>, explanation: &Explanation) -> String {
    let mut states: Vec<&str> = explanation.partial.iter().map(|partial| &*partial.state).collect();
    states.sort_unstable();
    states.dedup();
    let there = states.join(", or ");
    format!("client {}'s `{}` has no place in any order; there was {there}", stuck.process.0, stuck.action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::linearizable::check;
    use crate::history::register::{Register, RegisterAction};
    use crate::history::{Fate, Process};

    fn operation(at: usize, action: RegisterAction) -> Operation<RegisterAction> {
        let (called, returned) = (2 * at, Some(2 * at + 1));
        Operation { process: Process(7), action, fate: Fate::Ok, called, returned, line: 0 }
    }

    #[test]
    fn a_wrong_history_is_told_and_drawn_and_an_undecided_one_is_no_pass() {
        let history = [RegisterAction::Write(Some(1)), RegisterAction::Read(Some(Some(2)))];
        let history: Vec<_> = history.into_iter().enumerate().map(|(at, action)| operation(at, action)).collect();
        let judge = |budget| move |operations: &[_]| check(&Register { initial: None }, operations, budget);
        let found = of_verdict(&history, |_| "r", judge(100)).expect("it is not linearizable");
        assert_eq!(found.what, "client 7's `read 2` has no place in any order; there was 1");
        assert!(found.picture.is_some_and(|picture| picture.contains("</svg>")));
        assert_eq!(of_verdict(&history[..1], |_| "r", judge(100)), None);
        let undecided = of_verdict(&history, |_| "r", judge(0)).expect("undecided is a violation");
        assert!(undecided.what.starts_with("undecided"), "{undecided}");
    }
}
