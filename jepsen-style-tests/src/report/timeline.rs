//! All that was done and seen in a run, line by line, with the clients' time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use holdfast_node::rt;
use parking_lot::Mutex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since the start of the run.
    pub at: Duration,
    /// A client, the nemesis, the campaign.
    pub who: String,
    pub what: String,
}

/// Clones share the lines.
#[derive(Clone, Debug)]
pub struct Timeline {
    begun: rt::Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Timeline {
    /// From now on.
    pub fn begin() -> Self {
        Self { begun: rt::now(), lines: Arc::new(Mutex::new(Vec::new())) }
    }

    pub fn now(&self) -> Duration {
        rt::since(self.begun)
    }

    /// Writes a line, and returns its time.
    pub fn say(&self, who: &str, what: impl Into<String>) -> Duration {
        let mut lines = self.lines.lock();
        let at = self.now();
        lines.push(Line { at, who: who.to_owned(), what: what.into() });
        at
    }

    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().clone()
    }

    /// One text, a line each.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Line { at, who, what } in self.lines.lock().iter() {
            let _cannot_fail = writeln!(text, "{:>10.6} {who:<12} {what}", at.as_secs_f64());
        }
        text
    }
}
