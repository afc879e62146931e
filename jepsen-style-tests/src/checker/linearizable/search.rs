//! The search over configurations, depth first, that can be stopped when a budget is used up and taken up again.

use std::collections::HashMap;

use super::timeline::Timeline;
use crate::checker::model::Model;
use crate::history::Operation;

/// Ways the history can end before it goes wrong, that are kept to explain it.
const PARTIAL_MAX: usize = 8;
const WORD_BITS: usize = 64;

pub enum Progress {
    /// An order.
    Found,
    /// Every order was tried.
    Exhausted,
    OutOfBudget,
}

type State = usize;

#[derive(Clone)]
struct Configuration {
    /// The next return, as a number in the timeline.
    at: usize,
    state: State,
    /// What is open and in the order already: first the words of operations that return, then the others'.
    bits: Box<[u64]>,
    /// The last link of the order that led here.
    trail: Option<usize>,
}

/// What a configuration has in common with those that it may be compared with: all but the operations of unknown fate.
#[derive(PartialEq, Eq, Hash)]
struct Kin {
    at: usize,
    state: State,
    returning: Box<[u64]>,
}

struct Link {
    before: Option<usize>,
    open: usize,
}

/// How far any order came.
struct Deepest {
    at: usize,
    ends: Vec<(State, Option<usize>)>,
}

pub struct Search<'a, M: Model> {
    model: &'a M,
    timeline: Timeline<M::Action>,
    /// By number of the action: it only looks.
    observers: Vec<bool>,
    states: Vec<M::State>,
    numbers: HashMap<M::State, State>,
    steps: HashMap<(State, usize), Option<State>>,
    returning_words: usize,
    todo: Vec<Configuration>,
    /// Of each kind that was tried: the sets of used operations of unknown fate, none of them part of another.
    tried: HashMap<Kin, Vec<Box<[u64]>>>,
    tried_count: usize,
    links: Vec<Link>,
    deepest: Deepest,
}

impl<'a, M: Model> Search<'a, M> {
    pub fn new(model: &'a M, operations: &[Operation<M::Action>]) -> Self {
        let timeline = Timeline::new(operations);
        let returning_words = timeline.returning_bits.div_ceil(WORD_BITS);
        let words = returning_words + timeline.unknown_bits.div_ceil(WORD_BITS);
        let initial = model.initial();
        Self {
            model,
            observers: timeline.actions.iter().map(|action| model.only_observes(action)).collect(),
            timeline,
            states: vec![initial.clone()],
            numbers: HashMap::from([(initial, 0)]),
            steps: HashMap::new(),
            returning_words,
            todo: vec![Configuration { at: 0, state: 0, bits: vec![0; words].into(), trail: None }],
            tried: HashMap::new(),
            tried_count: 0,
            links: Vec::new(),
            deepest: Deepest { at: 0, ends: Vec::new() },
        }
    }

    /// Goes on until `budget` configurations have been tried, those of earlier calls included.
    pub fn run(&mut self, budget: usize) -> Progress {
        while self.tried_count < budget {
            let Some(configuration) = self.todo.pop() else { return Progress::Exhausted };
            let Some(configuration) = self.advance(configuration) else { return Progress::Found };
            if self.is_new(&configuration) {
                self.remember_if_deep(&configuration);
                self.branch(&configuration);
            }
        }
        Progress::OutOfBudget
    }

    /// The operation whose return no order gets past, and how the orders up to there end.
    pub fn deepest(&self) -> (usize, Vec<(Vec<usize>, String)>) {
        let ending = &self.timeline.open[self.timeline.returns[self.deepest.at].ending];
        let describe =
            |(state, trail): &(State, Option<usize>)| (self.order(*trail), self.model.describe(&self.states[*state]));
        (ending.index, self.deepest.ends.iter().map(describe).collect())
    }

    fn order(&self, mut trail: Option<usize>) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some(link) = trail {
            order.push(self.timeline.open[self.links[link].open].index);
            trail = self.links[link].before;
        }
        order.reverse();
        order
    }

    /// Does what needs no choice, up to a return whose operation is not in the order; none at the end of the history.
    fn advance(&mut self, mut now: Configuration) -> Option<Configuration> {
        while now.at < self.timeline.returns.len() {
            for place in 0..self.timeline.returns[now.at].open.len() {
                let open = self.timeline.returns[now.at].open[place];
                if self.observes(open) && !self.is_in_order(&now, open) && self.step(now.state, open).is_some() {
                    self.put_in_order(&mut now, open);
                }
            }
            let ending = self.timeline.returns[now.at].ending;
            if !self.is_in_order(&now, ending) {
                return Some(now);
            }
            let (word, mask) = self.bit(ending);
            now.bits[word] &= !mask;
            now.at += 1;
        }
        None
    }

    fn branch(&mut self, now: &Configuration) {
        let mut seen = Vec::new();
        let first = self.todo.len();
        for place in 0..self.timeline.returns[now.at].open.len() {
            let open = self.timeline.returns[now.at].open[place];
            let action = self.timeline.open[open].action;
            // Of equal ones the first to return goes first.
            if self.is_in_order(now, open) || self.observes(open) || seen.contains(&action) {
                continue;
            }
            seen.push(action);
            let Some(state) = self.step(now.state, open) else { continue };
            // What may stay out and would change nothing now stays out, for it may be of use later.
            if state == now.state && self.timeline.open[open].deadline.is_none() {
                continue;
            }
            let mut next = now.clone();
            next.state = state;
            self.put_in_order(&mut next, open);
            self.todo.push(next);
        }
        // The last one pushed is tried first, and that shall be the one that ends first.
        self.todo[first..].reverse();
    }

    fn is_new(&mut self, now: &Configuration) -> bool {
        let (returning, unknown) = now.bits.split_at(self.returning_words);
        let kin = Kin { at: now.at, state: now.state, returning: returning.into() };
        let tried = self.tried.entry(kin).or_default();
        if tried.iter().any(|used| is_part_of(used, unknown)) {
            return false;
        }
        tried.retain(|used| !is_part_of(unknown, used));
        tried.push(unknown.into());
        self.tried_count += 1;
        true
    }

    fn remember_if_deep(&mut self, now: &Configuration) {
        if now.at > self.deepest.at {
            self.deepest = Deepest { at: now.at, ends: Vec::new() };
        }
        let ends = &mut self.deepest.ends;
        if now.at == self.deepest.at && ends.len() < PARTIAL_MAX && ends.iter().all(|(state, _)| *state != now.state) {
            ends.push((now.state, now.trail));
        }
    }

    fn step(&mut self, state: State, open: usize) -> Option<State> {
        let action = self.timeline.open[open].action;
        if let Some(&known) = self.steps.get(&(state, action)) {
            return known;
        }
        let next = self.model.step(&self.states[state], &self.timeline.actions[action]);
        let next = next.map(|next| {
            let number = self.states.len();
            *self.numbers.entry(next).or_insert_with_key(|next| {
                self.states.push(next.clone());
                number
            })
        });
        self.steps.insert((state, action), next);
        next
    }

    fn observes(&self, open: usize) -> bool {
        self.observers[self.timeline.open[open].action]
    }

    fn bit(&self, open: usize) -> (usize, u64) {
        let open = &self.timeline.open[open];
        let first_word = if open.deadline.is_some() { 0 } else { self.returning_words };
        (first_word + open.bit / WORD_BITS, 1 << (open.bit % WORD_BITS))
    }

    fn is_in_order(&self, now: &Configuration, open: usize) -> bool {
        let (word, mask) = self.bit(open);
        now.bits[word] & mask != 0
    }

    fn put_in_order(&mut self, now: &mut Configuration, open: usize) {
        let (word, mask) = self.bit(open);
        now.bits[word] |= mask;
        self.links.push(Link { before: now.trail, open });
        now.trail = Some(self.links.len() - 1);
    }
}

fn is_part_of(part: &[u64], whole: &[u64]) -> bool {
    part.iter().zip(whole).all(|(part, whole)| part & !whole == 0)
}
