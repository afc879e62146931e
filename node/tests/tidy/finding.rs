//! What a rule found, and where.

use std::fmt;

/// One violation: a place, what is wrong there, and why that is a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    pub what: String,
    pub why: String,
}

impl Finding {
    pub fn new(path: &str, line: usize, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    why: {}", self.path, self.line, self.what, self.why)
    }
}

/// Fails the test with every finding, not only the first.
pub fn report(mut findings: Vec<Finding>) {
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    let text: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{} to tidy:\n{}\n", findings.len(), text.join("\n"));
}
