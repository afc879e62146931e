//! Log lines: JSON with etcd's keys, or text for people.
//!
//! ```text
//! {"level":"info","ts":"2025-06-01T12:00:00.123Z","caller":"holdfast_node::node:88","msg":"stopped","name":"n1"}
//! ```

use std::fmt::{self, Write};
use std::sync::Arc;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use holdfast_node::config::{LogConfig, LogFormat, LogOutput};
use holdfast_node::env::open_to_append;
use holdfast_node::rt;
use holdfast_node::types::Rfc3339;

/// Sends the process' log where the configuration says.
pub fn install(config: &LogConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut writer: Option<BoxMakeWriter> = None;
    for output in &config.outputs {
        let next = match output {
            LogOutput::Stderr => BoxMakeWriter::new(std::io::stderr),
            LogOutput::Stdout => BoxMakeWriter::new(std::io::stdout),
            LogOutput::File(path) => {
                BoxMakeWriter::new(Arc::new(open_to_append(path).map_err(|error| error.to_string())?))
            }
        };
        writer = Some(match writer {
            Some(writer) => BoxMakeWriter::new(writer.and(next)),
            None => next,
        });
    }
    let writer = writer.unwrap_or_else(|| BoxMakeWriter::new(std::io::stderr));
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&config.filter)?).with_writer(writer);
    match config.format {
        LogFormat::Json => builder.with_ansi(false).event_format(Zap).try_init(),
        LogFormat::Console => builder.with_ansi(false).with_timer(WallClock).with_target(true).try_init(),
    }
}

/// For what is said before there is a configuration: in etcd's form, to standard error.
pub fn to_stderr(say: impl FnOnce()) {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).event_format(Zap).finish();
    tracing::subscriber::with_default(subscriber, say);
}

/// The node's wall clock, as everything shown is stamped by it.
struct WallClock;

impl FormatTime for WallClock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", Rfc3339 { unix_ms: rt::wall_unix_ms() })
    }
}

/// etcd's logger writes such lines, and those who read etcd's logs look for them.
struct Zap;

impl<S, N> FormatEvent<S, N> for Zap
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let caller = format!("{}:{}", metadata.target(), metadata.line().unwrap_or(0));
        let time = Rfc3339 { unix_ms: rt::wall_unix_ms() };
        write!(writer, "{{\"level\":\"{level}\",\"ts\":\"{time}\",\"caller\":\"{caller}\",\"msg\":")?;
        write!(writer, "{}{}", Value::from(fields.message), fields.others)?;
        let mut spans = String::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let recorded = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
            write!(spans, "{}{{{recorded}}} ", span.name())?;
        }
        if !spans.is_empty() {
            write!(writer, ",\"span\":{}", Value::from(spans.trim_end()))?;
        }
        writeln!(writer, "}}")
    }
}

/// The fields of an event: its message, and the others as they will stand behind it.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(self.others, ",{}:{value}", Value::from(field.name()));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_etcds_keys() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).event_format(Zap).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("rpc", request = 7).in_scope(|| {
                tracing::warn!(name = "n\"1\"", count = 3, ok = true, "ready to serve {}", "client requests");
            });
        });
        let bytes = lines.0.lock().clone();
        let line = String::from_utf8(bytes).unwrap();
        assert!(line.starts_with("{\"level\":\"warn\",\"ts\":\""), "{line}");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["msg"], "ready to serve client requests");
        assert_eq!((&object["name"], &object["count"], &object["ok"]), (&"n\"1\"".into(), &3.into(), &true.into()));
        assert_eq!(object["span"], "rpc{request=7}");
    }
}
