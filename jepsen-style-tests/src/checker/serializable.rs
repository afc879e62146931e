//! Serializability of transactions that append to lists and read them, by looking for cycles.
//!
//! The idea is Elle's (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations",
//! 2020): every element is appended once, so a list that is read tells in which order its writers came. Who wrote
//! before whom (ww), who read what whom wrote (wr), and who read before whom wrote (rw) are then edges of a graph, and
//! a cycle is an anomaly in the names of Adya, Liskov and O'Neil (2000):
//!
//! ```text
//!   G1a  a read of what failed            G0        a cycle of ww alone
//!   G1b  a read of half a transaction     G1c       of ww and wr
//!                                         G-single  with one rw         G2  with more
//! ```
//!
//! With `Order::RealTime` an edge also leads from each transaction to those that began after it had ended: what then
//! has no cycle is strictly serializable. A history without anomalies is not proved serializable; none was found.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use graph::{Cycle, Dependency, Edge, Kind};

use crate::history::{Fate, Operation};

pub type Element = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Append {
        key: String,
        element: Element,
    },
    /// The list that was read; none where the answer is not known.
    Read {
        key: String,
        seen: Option<Vec<Element>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Free,
    RealTime,
}

/// What no serial order can explain. Transactions are named by their index in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    AppendedTwice {
        key: String,
        element: Element,
    },
    /// An element that nobody appended.
    FromNowhere {
        reader: usize,
        key: String,
        element: Element,
    },
    /// An element twice in one list.
    SeenTwice {
        reader: usize,
        key: String,
        element: Element,
    },
    /// Two reads of which neither begins with the other.
    NoOneOrder {
        readers: [usize; 2],
        key: String,
    },
    /// A transaction that does not see its own appends, or two lists.
    Internal {
        reader: usize,
        key: String,
    },
    G1a {
        reader: usize,
        writer: usize,
        key: String,
        element: Element,
    },
    G1b {
        reader: usize,
        writer: usize,
        key: String,
        element: Element,
    },
    Cycle(Cycle),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AppendedTwice { key, element } => write!(out, "{element} was appended to {key} twice"),
            Self::FromNowhere { reader, key, element } => {
                write!(out, "T{reader} read {element} in {key}, which nobody appended")
            }
            Self::SeenTwice { reader, key, element } => write!(out, "T{reader} read {element} twice in {key}"),
            Self::NoOneOrder { readers: [one, other], key } => {
                write!(out, "T{one} and T{other} read lists of {key} of which neither begins with the other")
            }
            Self::Internal { reader, key } => write!(out, "T{reader} contradicts itself about {key}"),
            Self::G1a { reader, writer, key, element } => {
                write!(out, "G1a: T{reader} read {element} in {key}, from T{writer}, which failed")
            }
            Self::G1b { reader, writer, key, element } => {
                write!(out, "G1b: T{reader} read {key} up to {element}, half of what T{writer} appended")
            }
            Self::Cycle(cycle) => write!(out, "{cycle}"),
        }
    }
}

/// All direct anomalies, and for each knot of the graph one cycle of the gravest kind in it.
pub fn check(transactions: &[Operation<Vec<Step>>], order: Order) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let writers = Writers::of(transactions, &mut anomalies);
    let mut lists: BTreeMap<&str, (usize, &[Element])> = BTreeMap::new();
    for (reader, key, seen) in reads(transactions) {
        one_read(transactions, &writers, (reader, key, seen), &mut anomalies);
        let longest = lists.entry(key).or_insert((reader, seen));
        let (shorter, longer) = if seen.len() > longest.1.len() { (longest.1, seen) } else { (seen, longest.1) };
        if !longer.starts_with(shorter) {
            anomalies.push(Anomaly::NoOneOrder { readers: [longest.0, reader], key: key.to_owned() });
        } else if longer == seen {
            *longest = (reader, seen);
        }
    }
    for (reader, transaction) in transactions.iter().enumerate().filter(|(_, one)| one.fate == Fate::Ok) {
        anomalies.extend(contradictions(reader, &transaction.action));
    }
    let versions: BTreeMap<&str, &[Element]> = lists.into_iter().map(|(key, (_, list))| (key, list)).collect();
    let edges = edges(transactions, &writers, &versions, order);
    anomalies.extend(graph::cycles(transactions.len(), &edges).into_iter().map(Anomaly::Cycle));
    anomalies
}

/// The reads that were answered.
fn reads(transactions: &[Operation<Vec<Step>>]) -> impl Iterator<Item = (usize, &str, &[Element])> {
    let answered = transactions.iter().enumerate().filter(|(_, one)| one.fate == Fate::Ok);
    answered.flat_map(|(at, one)| {
        one.action.iter().filter_map(move |step| match step {
            Step::Read { key, seen: Some(seen) } => Some((at, key.as_str(), seen.as_slice())),
            Step::Read { seen: None, .. } | Step::Append { .. } => None,
        })
    })
}

/// Who appended what, failed transactions included: that is how a read of one is known.
struct Writers<'a> {
    of: BTreeMap<(&'a str, Element), usize>,
    /// The last element that each transaction appends to a key.
    last: BTreeMap<(usize, &'a str), Element>,
}

impl<'a> Writers<'a> {
    fn of(transactions: &'a [Operation<Vec<Step>>], anomalies: &mut Vec<Anomaly>) -> Self {
        let mut writers = Self { of: BTreeMap::new(), last: BTreeMap::new() };
        for (at, one) in transactions.iter().enumerate() {
            for step in &one.action {
                let Step::Append { key, element } = step else { continue };
                if writers.of.insert((key, *element), at).is_some() {
                    anomalies.push(Anomaly::AppendedTwice { key: key.clone(), element: *element });
                }
                writers.last.insert((at, key), *element);
            }
        }
        writers
    }

    fn get(&self, key: &str, element: Element) -> Option<usize> {
        self.of.get(&(key, element)).copied()
    }
}

fn one_read(
    transactions: &[Operation<Vec<Step>>],
    writers: &Writers<'_>,
    (reader, key, seen): (usize, &str, &[Element]),
    anomalies: &mut Vec<Anomaly>,
) {
    let mut met = BTreeSet::new();
    for &element in seen {
        let key = key.to_owned();
        if !met.insert(element) {
            anomalies.push(Anomaly::SeenTwice { reader, key: key.clone(), element });
        }
        match writers.get(&key, element) {
            None => anomalies.push(Anomaly::FromNowhere { reader, key, element }),
            Some(writer) if transactions[writer].fate == Fate::Failed => {
                anomalies.push(Anomaly::G1a { reader, writer, key, element });
            }
            Some(_) => {}
        }
    }
    if let Some(&element) = seen.last()
        && let Some(writer) = writers.get(key, element)
        && writer != reader
        && writers.last[&(writer, key)] != element
    {
        anomalies.push(Anomaly::G1b { reader, writer, key: key.to_owned(), element });
    }
}

/// Within a transaction each list is what was read before, and then its own appends.
fn contradictions(reader: usize, steps: &[Step]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    // For each key: whether its beginning is known, and the list, or its end.
    let mut lists: BTreeMap<&str, (bool, Vec<Element>)> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Append { key, element } => lists.entry(key).or_default().1.push(*element),
            Step::Read { seen: None, .. } => {}
            Step::Read { key, seen: Some(seen) } => {
                let (begun, list) = lists.entry(key).or_default();
                let agrees = if *begun { seen == list } else { seen.ends_with(list) };
                if !agrees {
                    found.push(Anomaly::Internal { reader, key: key.clone() });
                }
                (*begun, *list) = (true, seen.clone());
            }
        }
    }
    found
}

fn edges(
    transactions: &[Operation<Vec<Step>>],
    writers: &Writers<'_>,
    versions: &BTreeMap<&str, &[Element]>,
    order: Order,
) -> Vec<Edge> {
    let mut edges = Vec::new();
    let mut add = |from: Option<usize>, to: Option<usize>, dependency: Dependency, about: String| {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            edges.push(Edge { from, to, dependency, about });
        }
    };
    // What was certainly appended and never seen comes behind all that was seen: lists only grow.
    let unseen = |key: &str, list: &[Element]| -> Vec<usize> {
        let of_key = writers.of.iter().filter(|((other, element), _)| *other == key && !list.contains(element));
        of_key.map(|(_, writer)| *writer).filter(|writer| transactions[*writer].fate == Fate::Ok).collect()
    };
    for (key, list) in versions {
        for two in list.windows(2) {
            let about = format!("{key}: {} then {}", two[0], two[1]);
            add(writers.get(key, two[0]), writers.get(key, two[1]), Dependency::WriteWrite, about);
        }
        for writer in unseen(key, list) {
            let last = list.last().and_then(|last| writers.get(key, *last));
            add(last, Some(writer), Dependency::WriteWrite, format!("{key}: behind all that was read"));
        }
    }
    for (reader, key, seen) in reads(transactions) {
        if let Some(last) = seen.last() {
            add(writers.get(key, *last), Some(reader), Dependency::WriteRead, format!("{key}: {last}"));
        }
        let list = versions[key];
        if let Some(next) = list.get(seen.len()) {
            add(Some(reader), writers.get(key, *next), Dependency::ReadWrite, format!("{key}: without {next}"));
        } else {
            for writer in unseen(key, list) {
                add(Some(reader), Some(writer), Dependency::ReadWrite, format!("{key}: before T{writer}'s"));
            }
        }
    }
    if order == Order::RealTime {
        edges.extend(graph::real_time(transactions));
    }
    edges
}

#[cfg(test)]
mod tests;
