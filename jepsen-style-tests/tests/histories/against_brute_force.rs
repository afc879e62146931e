//! The search and a checker that tries every order agree on thousands of small histories.

use holdfast_jepsen::checker::linearizable::{CONFIGURATIONS_MAX, Explanation, Verdict, check};
use holdfast_jepsen::checker::model::Model as _;
use holdfast_jepsen::history::register::{Content, Register, RegisterAction};
use holdfast_jepsen::history::{Fate, Operation, Process};

const HISTORIES: u64 = 4000;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn history(seed: u64) -> Vec<Operation<RegisterAction>> {
    let mut dice = Dice(seed);
    let mut operations: Vec<Operation<RegisterAction>> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for place in 0..18 {
        if !open.is_empty() && (open.len() == 4 || dice.below(2) == 0) {
            let at = open.swap_remove(usize::try_from(dice.below(open.len() as u64)).expect("small"));
            operations[at].returned = Some(place);
            operations[at].fate = match dice.below(8) {
                0 => Fate::Unknown,
                1 => Fate::Failed,
                _ => Fate::Ok,
            };
            continue;
        }
        let value = |dice: &mut Dice| Some(i64::try_from(dice.below(3)).expect("small"));
        let action = match dice.below(5) {
            0 | 1 => RegisterAction::Read(Some(value(&mut dice))),
            2 | 3 => RegisterAction::Write(value(&mut dice)),
            _ => RegisterAction::CompareAndSet { expected: value(&mut dice), new: value(&mut dice) },
        };
        open.push(operations.len());
        let process = Process(operations.len() as u64);
        operations.push(Operation { process, action, fate: Fate::Unknown, called: place, returned: None, line: 0 });
    }
    operations
}

/// Every order, by taking any operation that no other has to come before.
fn some_order(operations: &[Operation<RegisterAction>], left: u32, state: Content) -> bool {
    let is_left = |index: &usize| left & (1 << index) != 0;
    let all = 0..operations.len();
    let deadline = all.clone().filter(is_left).filter_map(|index| operations[index].deadline()).min();
    let Some(deadline) = deadline else { return true };
    all.filter(is_left).any(|index| {
        let operation = &operations[index];
        let next = Register { initial: None }.step(&state, &operation.action);
        operation.fate != Fate::Failed
            && operation.called < deadline
            && next.is_some_and(|next| some_order(operations, left & !(1 << index), next))
    })
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let mut counts = [0_u64; 2];
    for seed in 0..HISTORIES {
        let operations = history(seed);
        let expected = some_order(&operations, (1 << operations.len()) - 1, Some(0));
        let verdict = check(&Register { initial: Some(0) }, &operations, CONFIGURATIONS_MAX);
        assert_eq!(verdict == Verdict::Linearizable, expected, "seed {seed}: {verdict:?}\n{operations:#?}");
        counts[usize::from(expected)] += 1;
        if let Verdict::NotLinearizable(explanation) = verdict {
            explained(&operations, &explanation, seed);
        }
    }
    assert!(counts.iter().all(|count| *count > HISTORIES / 10), "one-sided: {counts:?}");
}

/// The part before the stuck operation's return has an order, with it there is none, and the orders given are orders.
fn explained(operations: &[Operation<RegisterAction>], explanation: &Explanation, seed: u64) {
    let end = operations[explanation.stuck].returned.expect("only what returned can be stuck");
    let up_to = |end: usize| -> Vec<_> {
        let mut before = operations.to_vec();
        before.retain(|operation| operation.called <= end);
        for operation in &mut before {
            // That it failed stays known: then it never happened.
            if operation.fate == Fate::Ok && operation.returned.is_some_and(|returned| returned > end) {
                operation.fate = Fate::Unknown;
            }
        }
        before
    };
    for (end, expected) in [(end - 1, true), (end, false)] {
        let part = up_to(end);
        assert_eq!(some_order(&part, (1 << part.len()) - 1, Some(0)), expected, "seed {seed}, up to {end}");
    }
    assert!(!explanation.partial.is_empty(), "seed {seed}");
    for partial in &explanation.partial {
        let mut state = Some(0);
        for &index in &partial.order {
            let next = Register { initial: None }.step(&state, &operations[index].action);
            state = next.unwrap_or_else(|| panic!("seed {seed}: {partial:?} is no order"));
        }
    }
}

#[test]
fn what_does_not_fit_the_budget_is_undecided() {
    let mut operations = history(1);
    for operation in &mut operations {
        operation.action = RegisterAction::Write(Some(1));
        operation.fate = Fate::Ok;
        operation.returned.get_or_insert(40);
    }
    for (at, operation) in operations.iter_mut().enumerate() {
        operation.returned = operation.returned.map(|place| if place == 40 { 40 + at } else { place });
    }
    let register = Register { initial: Some(0) };
    assert_eq!(check(&register, &operations, 2), Verdict::Undecided { configurations: 2 });
    assert_eq!(check(&register, &operations, 1000), Verdict::Linearizable);
}
