//! Histories written as EDN maps, `{:process 1, :type :invoke, :f :read, :value nil}`: one register, or text by key.
//!
//! The maps stand in one vector or list, or one after another. What no client did (a process that is a word, such as
//! `:nemesis`) is passed over.

use super::edn::{Edn, read_all};
use super::pairing::{Event, pair};
use super::register::{Content, RegisterAction};
use super::text::{Keyed, TextAction};
use super::{HistoryError, Operation, Phase, Process};

/// A register as Knossos' data has it. A read that is ok and has no value says that the read took place, and nothing
/// about what was read: so Knossos' own model takes it.
pub fn register_edn(text: &str) -> Result<Vec<Operation<RegisterAction>>, HistoryError> {
    let mut events = Vec::new();
    for entry in entries(text)? {
        if let Some(head) = Head::of(&entry)? {
            let value = entry.get("value").unwrap_or(&Edn::Nil);
            events.push(head.event(register_action(&head, value)?));
        }
    }
    pair(&events)
}

fn register_action(head: &Head<'_>, value: &Edn) -> Result<RegisterAction, HistoryError> {
    let wrong = |what: String| HistoryError::malformed(head.line, what);
    match (head.function, value) {
        ("read", Edn::Nil) => Ok(RegisterAction::Read(None)),
        // Only an answer holds a value that counts; what fails or is unknown may name a reason there.
        ("read", value) if head.phase == Phase::Ok => Ok(RegisterAction::Read(Some(content(head.line, value)?))),
        ("read", _) => Ok(RegisterAction::Read(None)),
        _ if matches!(head.phase, Phase::Fail | Phase::Unknown) => Ok(RegisterAction::Read(None)),
        ("write", value) => Ok(RegisterAction::Write(content(head.line, value)?)),
        ("cas", Edn::Sequence(pair)) if pair.len() == 2 => {
            let [expected, new] = [content(head.line, &pair[0])?, content(head.line, &pair[1])?];
            Ok(RegisterAction::CompareAndSet { expected, new })
        }
        ("cas", value) => Err(wrong(format!("a :cas has a pair of values, not {value:?}"))),
        (other, _) => Err(wrong(format!("a register knows :read, :write and :cas, not :{other}"))),
    }
}

pub(super) fn content(line: usize, value: &Edn) -> Result<Content, HistoryError> {
    match value {
        Edn::Nil => Ok(None),
        Edn::Integer(number) => Ok(Some(*number)),
        other => Err(HistoryError::malformed(line, format!("a register holds an integer or nil, not {other:?}"))),
    }
}

/// Get, put and append by key.
pub fn text_by_key(text: &str) -> Result<Vec<Operation<Keyed>>, HistoryError> {
    let mut events = Vec::new();
    for entry in entries(text)? {
        if let Some(head) = Head::of(&entry)? {
            events.push(head.event(keyed(&head, &entry)?));
        }
    }
    pair(&events)
}

fn keyed(head: &Head<'_>, entry: &Entry) -> Result<Keyed, HistoryError> {
    let wrong = |what: String| HistoryError::malformed(head.line, what);
    let key = match entry.get("key") {
        Some(Edn::Text(key)) => key.clone(),
        Some(Edn::Integer(key)) => key.to_string(),
        other => return Err(wrong(format!("`:key` is a string, not {other:?}"))),
    };
    let value = match entry.get("value") {
        Some(Edn::Text(value)) => Some(value.clone()),
        None | Some(Edn::Nil) => None,
        _ if matches!(head.phase, Phase::Fail | Phase::Unknown) => None,
        other => return Err(wrong(format!("`:value` is a string or nil, not {other:?}"))),
    };
    let action = match (head.function, value) {
        // A key that is not there reads as the empty string.
        ("get", value) if head.phase == Phase::Ok => TextAction::Get(Some(value.unwrap_or_default())),
        ("get", _) => TextAction::Get(None),
        ("put", Some(value)) => TextAction::Put(value),
        ("append", Some(value)) => TextAction::Append(value),
        ("put" | "append", None) if matches!(head.phase, Phase::Fail | Phase::Unknown) => TextAction::Get(None),
        ("put" | "append", None) => return Err(wrong(format!(":{} without a value", head.function))),
        (other, _) => return Err(wrong(format!("text knows :get, :put and :append, not :{other}"))),
    };
    Ok(Keyed { key, action })
}

struct Entry {
    entries: Vec<(Edn, Edn)>,
    line: usize,
}

impl Entry {
    fn get(&self, name: &str) -> Option<&Edn> {
        self.entries.iter().find(|(key, _)| key.keyword() == Some(name)).map(|(_, value)| value)
    }
}

fn entries(text: &str) -> Result<Vec<Entry>, HistoryError> {
    let mut found: Vec<Entry> = Vec::new();
    for value in read_all(text)? {
        let values = if let Edn::Sequence(values) = value { values } else { vec![value] };
        for value in values {
            let Edn::Map { entries, line } = value else {
                let line = found.last().map_or(1, |entry| entry.line);
                let what = format!("an event is a map, and what follows is none: {value:?}");
                return Err(HistoryError::malformed(line, what));
            };
            found.push(Entry { entries, line });
        }
    }
    Ok(found)
}

/// What every event has.
struct Head<'a> {
    process: Process,
    phase: Phase,
    function: &'a str,
    line: usize,
}

impl<'a> Head<'a> {
    /// None for what no client did.
    fn of(entry: &'a Entry) -> Result<Option<Self>, HistoryError> {
        let line = entry.line;
        let wrong = |what: String| HistoryError::malformed(line, what);
        let process = match entry.get("process") {
            Some(Edn::Integer(number)) => u64::try_from(*number).map_err(|_| wrong("a negative process".to_owned()))?,
            Some(Edn::Keyword(_)) => return Ok(None),
            other => return Err(wrong(format!("`:process` is a number, not {other:?}"))),
        };
        let named = |name: &str| {
            let keyword = entry.get(name).and_then(Edn::keyword);
            keyword.ok_or_else(|| wrong(format!("`:{name}` is not a keyword")))
        };
        let phase =
            phase(named("type")?).ok_or_else(|| wrong(format!("unknown `:type :{}`", named("type").unwrap_or(""))))?;
        Ok(Some(Self { process: Process(process), phase, function: named("f")?, line }))
    }

    fn event<A>(&self, action: A) -> Event<A> {
        Event { process: self.process, phase: self.phase, action, line: self.line }
    }
}

pub(super) fn phase(name: &str) -> Option<Phase> {
    match name {
        "invoke" => Some(Phase::Invoke),
        "ok" => Some(Phase::Ok),
        "fail" => Some(Phase::Fail),
        "info" => Some(Phase::Unknown),
        _ => None,
    }
}
