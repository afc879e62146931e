//! The graph of who must come before whom, its knots (strongly connected components, Tarjan 1972) and their cycles.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::history::{Fate, Operation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    WriteWrite,
    WriteRead,
    ReadWrite,
    /// The first had ended when the second began.
    RealTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub dependency: Dependency,
    pub about: String,
}

/// The gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    G0,
    G1c,
    GSingle,
    G2,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub kind: Kind,
    pub edges: Vec<Edge>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::G0 => "G0",
            Kind::G1c => "G1c",
            Kind::GSingle => "G-single",
            Kind::G2 => "G2",
        };
        write!(out, "{name}:")?;
        if let Some(first) = self.edges.first() {
            write!(out, " T{}", first.from)?;
        }
        for Edge { from: _, to, dependency, about } in &self.edges {
            let dependency = match dependency {
                Dependency::WriteWrite => "ww",
                Dependency::WriteRead => "wr",
                Dependency::ReadWrite => "rw",
                Dependency::RealTime => "rt",
            };
            write!(out, " -{dependency}({about})-> T{to}")?;
        }
        Ok(())
    }
}

/// From each transaction that is ok to those that began after its end, as far as no third says the same.
pub fn real_time<A>(transactions: &[Operation<A>]) -> Vec<Edge> {
    let mut events: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    for (at, one) in transactions.iter().enumerate().filter(|(_, one)| one.fate != Fate::Failed) {
        events.insert(one.called, (at, false));
        if let Some(place) = one.deadline() {
            events.insert(place, (at, true));
        }
    }
    let (mut ended, mut edges): (Vec<usize>, Vec<Edge>) = (Vec::new(), Vec::new());
    for &(to, returns) in events.values() {
        if returns {
            ended.retain(|&before| transactions[before].returned.is_none_or(|place| place > transactions[to].called));
            ended.push(to);
        } else {
            let edge =
                |&from: &usize| Edge { from, to, dependency: Dependency::RealTime, about: "ended before".to_owned() };
            edges.extend(ended.iter().map(edge));
        }
    }
    edges
}

/// For each knot a short cycle of the gravest kind that it holds.
pub fn cycles(count: usize, edges: &[Edge]) -> Vec<Cycle> {
    let mut out: Vec<Vec<&Edge>> = vec![Vec::new(); count];
    for edge in edges {
        out[edge.from].push(edge);
    }
    let knot = knots(&out);
    let mut found: BTreeMap<usize, Cycle> = BTreeMap::new();
    for kind in [Kind::G0, Kind::G1c, Kind::GSingle, Kind::G2] {
        for first in
            edges.iter().filter(|edge| edge.dependency == begins_with(kind) && knot[edge.from] == knot[edge.to])
        {
            if found.contains_key(&knot[first.from]) {
                continue;
            }
            if let Some(back) =
                path(&out, first, |edge| edge.dependency == Dependency::RealTime || may_hold(kind, edge))
            {
                let edges = std::iter::once(first.clone()).chain(back).collect();
                found.insert(knot[first.from], Cycle { kind, edges });
            }
        }
    }
    found.into_values().collect()
}

fn begins_with(kind: Kind) -> Dependency {
    match kind {
        Kind::G0 => Dependency::WriteWrite,
        Kind::G1c => Dependency::WriteRead,
        Kind::GSingle | Kind::G2 => Dependency::ReadWrite,
    }
}

/// Behind its first edge.
fn may_hold(kind: Kind, edge: &Edge) -> bool {
    match kind {
        Kind::G0 => edge.dependency == Dependency::WriteWrite,
        Kind::G1c | Kind::GSingle => edge.dependency != Dependency::ReadWrite,
        Kind::G2 => true,
    }
}

/// The shortest way back from the end of `first` to its start.
fn path(out: &[Vec<&Edge>], first: &Edge, may_take: impl Fn(&Edge) -> bool) -> Option<Vec<Edge>> {
    let mut reached_by: BTreeMap<usize, &Edge> = BTreeMap::new();
    let mut queue = VecDeque::from([first.to]);
    while let Some(at) = queue.pop_front() {
        for &edge in out[at].iter().filter(|edge| may_take(edge)) {
            if edge.to != first.to && !reached_by.contains_key(&edge.to) {
                reached_by.insert(edge.to, edge);
                queue.push_back(edge.to);
            }
        }
    }
    let (mut back, mut at) = (Vec::new(), first.from);
    while at != first.to {
        let edge = reached_by.get(&at)?;
        back.push((*edge).clone());
        at = edge.from;
    }
    back.reverse();
    Some(back)
}

/// The number of each transaction's knot. Without recursion: histories are long.
fn knots(out: &[Vec<&Edge>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let (mut number, mut low, mut knot) = (vec![NONE; out.len()], vec![NONE; out.len()], vec![NONE; out.len()]);
    let (mut next, mut stack, mut work) = (0, Vec::new(), Vec::new());
    for root in 0..out.len() {
        if number[root] == NONE {
            work.push((root, 0));
        }
        while let Some((at, edge)) = work.pop() {
            if edge == 0 {
                (number[at], low[at]) = (next, next);
                next += 1;
                stack.push(at);
            } else {
                let to = out[at][edge - 1].to;
                if knot[to] == NONE {
                    low[at] = low[at].min(low[to]);
                }
            }
            if let Some(following) = out[at].get(edge) {
                work.push((at, edge + 1));
                if number[following.to] == NONE {
                    work.push((following.to, 0));
                }
            } else if low[at] == number[at] {
                while let Some(member) = stack.pop() {
                    knot[member] = at;
                    if member == at {
                        break;
                    }
                }
            }
        }
    }
    knot
}
