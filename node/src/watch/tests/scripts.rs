//! Runs the stories of `node/tests/scripts/watch`. `UPDATE_GOLDEN=1` writes down what happens now instead: read it.
//!
//! A line that starts with `> ` is a command, lines behind it are what it showed, `#` is a comment.
//!
//! ```text
//! limits NAME=N ..             a fresh node with other limits; first line of a story only
//! put KEY VALUE | delete KEY | delete-range KEY END | txn CHANGE; CHANGE ..        committed and published
//! commit CHANGE; CHANGE ..     committed, not yet published
//! publish                      publishes all that was committed
//! install                      what was committed arrived as a snapshot: nobody knows its events
//! compact REVISION
//! NAME watch KEY [END] [start=N] [id=N] [prev_kv] [fragment] [progress_notify] [noput] [nodelete]
//! NAME cancel ID | NAME progress | NAME drop
//! NAME receive                 until the stream is idle
//! NAME step                    one step of the stream
//! wait DURATION                20s, 10m
//! counts
//! ```

#![allow(clippy::disallowed_methods, reason = "the stories are files")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use holdfast_proto::mvccpb;

use super::world::{Change, World, ask_progress, cancel, create, put};
use crate::mvcc::Revisioned;
use crate::types::{KeyRange, Limits, Revision};
use crate::watch::{Step, StreamOptions, WatchStream};

/// etcd's default.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

struct Client {
    stream: WatchStream,
    woken: Arc<AtomicBool>,
}

struct Story {
    world: World,
    options: StreamOptions,
    clients: BTreeMap<String, Client>,
    unpublished: Vec<Revisioned>,
    now: Duration,
    shown: String,
}

#[test]
fn stories() {
    let root = std::env::var("HOLDFAST_SCRIPTS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts").to_owned());
    let mut paths: Vec<PathBuf> = std::fs::read_dir(PathBuf::from(root).join("watch"))
        .expect("the stories are in node/tests/scripts/watch")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 12, "{paths:?}");
    for path in paths {
        let told = std::fs::read_to_string(&path).unwrap();
        let happened = retell(&told);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, happened).unwrap();
        } else {
            assert_eq!(told, happened, "{} (UPDATE_GOLDEN=1 rewrites it)", path.display());
        }
    }
}

/// The story with what its commands show now.
fn retell(told: &str) -> String {
    let mut story = Story::new(Limits::default());
    let mut happened = String::new();
    for line in told.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            writeln!(happened, "{line}").unwrap();
            story.run(command);
            happened.push_str(&std::mem::take(&mut story.shown));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(happened, "{line}").unwrap();
        }
    }
    happened
}

impl Story {
    fn new(limits: Limits) -> Self {
        Self {
            options: StreamOptions::new(&limits, PROGRESS_INTERVAL),
            world: World::new(limits),
            clients: BTreeMap::new(),
            unpublished: Vec::new(),
            now: Duration::ZERO,
            shown: String::new(),
        }
    }

    fn show(&mut self, line: impl AsRef<str>) {
        writeln!(self.shown, "{}", line.as_ref()).unwrap();
    }

    fn run(&mut self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["limits", ..] => *self = Story::new(limits(&words[1..])),
            ["put" | "delete" | "delete-range" | "txn", ..] => self.write(command.trim_start_matches("txn ")),
            ["commit", ..] => {
                let committed = self.world.commit(&changes(command.trim_start_matches("commit ")));
                self.unpublished.extend(committed);
                self.show(format!("revision {}, not published", self.world.horizon().revision));
            }
            ["publish"] => self.world.hub.publish(&std::mem::take(&mut self.unpublished)),
            ["install"] => {
                self.unpublished.clear();
                self.world.hub.reset(self.world.horizon().revision);
            }
            ["compact", revision] => self.world.compact(Revision(revision.parse().unwrap())),
            ["wait", time] => self.now += duration(time),
            ["counts"] => {
                let counts = self.world.hub.counts();
                self.show(format!(
                    "streams {}, watchers {}, slow {}, pending events {}",
                    counts.streams, counts.watchers, counts.slow_watchers, counts.pending_events
                ));
            }
            [name, "watch", ..] => self.request(name, create(watch(&words[2..]))),
            [name, "cancel", id] => self.request(name, cancel(id.parse().unwrap())),
            [name, "progress"] => self.request(name, ask_progress()),
            [name, "drop"] => drop(self.clients.remove(name)),
            [name, "receive"] => while self.step(name) {},
            [name, "step"] => drop(self.step(name)),
            _ => panic!("no such command: {command}"),
        }
        self.show_woken();
    }

    fn write(&mut self, text: &str) {
        assert!(self.unpublished.is_empty(), "publish first");
        let line = match self.world.write(&changes(text)) {
            Some(revision) => format!("revision {revision}"),
            None => "nothing changed".to_owned(),
        };
        self.show(line);
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let (world, options) = (&self.world, &self.options);
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let woken = Arc::new(AtomicBool::new(false));
            let flag = woken.clone();
            let wake = Arc::new(move || flag.store(true, Ordering::Relaxed));
            Client { stream: world.hub.open(options.clone(), wake), woken }
        })
    }

    fn request(&mut self, name: &str, request: WatchRequest) {
        let (engine, now) = (self.world.engine.clone(), self.now);
        let reply = self.client(name).stream.handle(request, &engine, now).unwrap();
        self.show(reply.map_or("no reply".to_owned(), |reply| shown(&reply)));
    }

    /// False once the stream is idle.
    fn step(&mut self, name: &str) -> bool {
        let (engine, now) = (self.world.engine.clone(), self.now);
        let client = self.client(name);
        client.woken.store(false, Ordering::Relaxed);
        match client.stream.next(&engine, now).unwrap() {
            Step::Responses(responses) => {
                for response in responses {
                    self.show(shown(&response));
                }
                true
            }
            Step::Reading => {
                self.show("reading");
                true
            }
            Step::Idle { wake_at } => {
                let until = wake_at.map_or(String::new(), |at| format!(" until {at:?}"));
                self.show(format!("idle{until}"));
                false
            }
        }
    }

    fn show_woken(&mut self) {
        let woken: Vec<String> = self
            .clients
            .iter()
            .filter(|(_, client)| client.woken.swap(false, Ordering::Relaxed))
            .map(|(name, _)| format!("({name} is woken)"))
            .collect();
        woken.iter().for_each(|line| self.show(line));
    }
}

fn limits(words: &[&str]) -> Limits {
    let mut limits = Limits::default();
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let value = value.parse().unwrap();
        match name {
            "watcher_events_max" => limits.watcher_events_max = value,
            "watcher_bytes_max" => limits.watcher_bytes_max = value,
            "request_bytes_max" => limits.request_bytes_max = value,
            "stream_watchers_max" => limits.stream_watchers_max = value,
            _ => panic!("no such limit: {name}"),
        }
    }
    limits
}

fn changes(text: &str) -> Vec<Change> {
    let change = |words: Vec<&str>| match words[..] {
        // A value like x*1000 is a thousand x.
        ["put", key, value] => match value.split_once('*') {
            Some((text, times)) => put(key.to_owned(), text.repeat(times.parse().unwrap())),
            None => put(key.to_owned(), value.to_owned()),
        },
        ["delete", key] => Change::Delete { range: KeyRange::from_wire(bytes(key), Bytes::new()) },
        ["delete-range", key, end] => Change::Delete { range: KeyRange::from_wire(bytes(key), bytes(end)) },
        _ => panic!("no such change: {words:?}"),
    };
    text.split(';').map(|part| change(part.split_whitespace().collect())).collect()
}

/// `\0` is a zero byte, `''` is nothing.
fn bytes(text: &str) -> Bytes {
    match text {
        "''" => Bytes::new(),
        "\\0" => Bytes::from_static(b"\0"),
        _ => Bytes::from(text.to_owned()),
    }
}

fn watch(words: &[&str]) -> WatchCreateRequest {
    let mut request = WatchCreateRequest { key: bytes(words[0]), ..WatchCreateRequest::default() };
    for word in &words[1..] {
        match word.split_once('=') {
            Some(("start", revision)) => request.start_revision = revision.parse().unwrap(),
            Some(("id", id)) => request.watch_id = id.parse().unwrap(),
            _ => match *word {
                "prev_kv" => request.prev_kv = true,
                "fragment" => request.fragment = true,
                "progress_notify" => request.progress_notify = true,
                "noput" => request.filters.push(FilterType::Noput as i32),
                "nodelete" => request.filters.push(FilterType::Nodelete as i32),
                end => request.range_end = bytes(end),
            },
        }
    }
    request
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => panic!("no such unit: {text}"),
    };
    Duration::from_secs(seconds * number.parse::<u64>().unwrap())
}

fn shown(response: &WatchResponse) -> String {
    let id = match response.watch_id {
        -1 => "the stream".to_owned(),
        id => format!("watch {id}"),
    };
    let mut line = String::new();
    if response.created {
        line += "created, ";
    }
    if response.canceled {
        line += "canceled, ";
    }
    if !response.created && !response.canceled && response.events.is_empty() {
        line += "progress of ";
    }
    write!(line, "{id}, revision {}", response.header.as_ref().unwrap().revision).unwrap();
    if response.compact_revision != 0 {
        write!(line, ", compact revision {}", response.compact_revision).unwrap();
    }
    if !response.cancel_reason.is_empty() {
        write!(line, ": {}", response.cancel_reason).unwrap();
    }
    if response.fragment {
        line += ", more follows";
    }
    for event in &response.events {
        write!(line, "\n  {}", shown_event(event)).unwrap();
    }
    line
}

fn shown_event(event: &mvccpb::Event) -> String {
    let kv = event.kv.as_ref().unwrap();
    let mut line = match event.r#type() {
        mvccpb::event::EventType::Put => format!("put {}", shown_version(kv)),
        mvccpb::event::EventType::Delete => {
            let bare = mvccpb::KeyValue { key: kv.key.clone(), mod_revision: kv.mod_revision, ..Default::default() };
            assert_eq!(*kv, bare, "a deletion carries its key and revision only");
            format!("delete {} mod {}", kv.key.escape_ascii(), kv.mod_revision)
        }
    };
    if let Some(prev) = &event.prev_kv {
        write!(line, " (was {})", shown_version(prev)).unwrap();
    }
    line
}

fn shown_version(kv: &mvccpb::KeyValue) -> String {
    let value = match kv.value.len() {
        0..=20 => kv.value.escape_ascii().to_string(),
        length => format!("<{length} bytes>"),
    };
    let key = kv.key.escape_ascii();
    format!("{key}={value} create {} mod {} version {}", kv.create_revision, kv.mod_revision, kv.version)
}
