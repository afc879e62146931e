//! What happened, line by line, with the simulated time and the node it happened on.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// The lines so far. Clones share them.
#[derive(Clone, Default)]
pub struct Trace {
    lines: Arc<Mutex<Vec<String>>>,
    last_at: Arc<Mutex<Duration>>,
}

impl Trace {
    /// A step of the story.
    pub fn say(&self, what: impl AsRef<str>) {
        self.push(format!("{} story: {}", now(), what.as_ref()));
    }

    /// A line as it is.
    pub fn note(&self, line: String) {
        self.lines.lock().push(line);
    }

    fn push(&self, line: String) {
        if let Some(time) = madsim::time::TimeHandle::try_current() {
            *self.last_at.lock() = time.elapsed();
        }
        self.note(line);
    }

    /// From now on this thread's log lines go into the trace, until the guard is dropped.
    pub(super) fn capture(&self) -> DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// The world's time at the end of the story.
    pub(super) fn last_at(&self) -> Duration {
        *self.last_at.lock()
    }

    /// A number that differs where traces differ: FNV-1a of all lines.
    pub fn digest(&self) -> u64 {
        let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
        for line in self.lines.lock().iter() {
            for byte in line.bytes().chain([b'\n']) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        digest
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        let mut text = self.lines.lock().join("\n");
        text.push('\n');
        text
    }

    /// The last lines as one text.
    pub fn tail(&self, lines: usize) -> String {
        let all = self.lines.lock();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

/// The simulated time and the node, or nothing outside of a simulation.
fn now() -> String {
    match madsim::time::TimeHandle::try_current() {
        Some(time) => {
            let elapsed = time.elapsed();
            format!("{:>4}.{:09} {}", elapsed.as_secs(), elapsed.subsec_nanos(), madsim::plugin::node())
        }
        None => "   -".to_owned(),
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _written = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

impl<S: Subscriber> Layer<S> for Trace {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO && !metadata.target().starts_with("madsim")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {:5} {}:", now(), metadata.level(), metadata.target()));
        event.record(&mut line);
        self.push(line.0);
    }
}
