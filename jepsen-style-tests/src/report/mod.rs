//! What a run leaves behind: whether a property was violated, what was struck how often, and the story in one timeline,
//! as a text and as a page with pictures.

mod page;
mod timeline;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;

pub use timeline::{Line, Timeline};
pub use verdict::of_verdict;

use crate::history::Tally;
use crate::nemesis::Class;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name: that of its file in `checker/`, or of its rule.
    pub property: String,
    pub what: String,
    /// The history drawn, as SVG, where there is something to see in it.
    pub picture: Option<String>,
}

impl Violation {
    pub fn of(property: &str, what: impl fmt::Display) -> Self {
        Self { property: property.to_owned(), what: what.to_string(), picture: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.property, self.what)
    }
}

/// How often a class of faults was struck, and how often it could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    pub struck: u64,
    /// The world cannot do it, or the cluster had no room for it at that moment.
    pub passed_over: u64,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub workload: String,
    /// The plan, in a line.
    pub plan: String,
    pub tally: Tally,
    pub hits: BTreeMap<Class, Hits>,
    /// What is worth saying of a run that went well.
    pub notes: Vec<String>,
    pub violations: Vec<Violation>,
    pub timeline: Timeline,
}

impl Report {
    pub fn is_right(&self) -> bool {
        self.violations.is_empty()
    }
}

/// One line; with violations, one more for each.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, workload, tally, hits, violations, .. } = self;
        let struck: Vec<String> = hits
            .iter()
            .filter(|(_, hits)| hits.struck > 0)
            .map(|(class, hits)| format!("{class} {}", hits.struck))
            .collect();
        let verdict = if violations.is_empty() { "right" } else { "VIOLATED" };
        write!(out, "seed {seed}, {workload}: {verdict}; {tally}; struck: ")?;
        out.write_str(&if struck.is_empty() { "nothing".to_owned() } else { struck.join(", ") })?;
        for note in &self.notes {
            write!(out, "; {note}")?;
        }
        for violation in violations {
            write!(out, "\n  {violation}")?;
        }
        Ok(())
    }
}
