//! Histories as Jepsen logs them: `INFO  jepsen.util - 3 :invoke :cas [1 4]`, fields parted by tabs or blanks.
//!
//! Lines of other loggers and of the nemesis are passed over. Any other line is refused: a log that is cut in the
//! middle of a line must not be judged as if it were whole.

use super::edn::{Edn, read_all};
use super::pairing::{Event, pair};
use super::recorded::{content, phase};
use super::register::RegisterAction;
use super::{HistoryError, Operation, Phase, Process};

const LOGGER: &str = "jepsen.util - ";
const LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// One register. Here a read that is ok and `nil` found the register empty.
pub fn register_log(text: &str) -> Result<Vec<Operation<RegisterAction>>, HistoryError> {
    let mut events = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if let Some((_, said)) = line.split_once(LOGGER) {
            events.extend(event(number, said)?);
        } else if !line.trim().is_empty() && !of_another_logger(line) {
            return Err(HistoryError::malformed(number, format!("not a line of a Jepsen log: {line:?}")));
        }
    }
    pair(&events)
}

fn of_another_logger(line: &str) -> bool {
    line.contains(" - ") && line.split_whitespace().take(3).any(|word| LEVELS.contains(&word))
}

/// None for what no client did.
fn event(line: usize, said: &str) -> Result<Option<Event<RegisterAction>>, HistoryError> {
    let wrong = |what: String| HistoryError::malformed(line, what);
    if said.starts_with(':') {
        return Ok(None);
    }
    let (process, rest) = field(said);
    let (kind, rest) = field(rest);
    let (function, value) = field(rest);
    if value.is_empty() {
        return Err(wrong(format!("process, type, function and value are expected, not {said:?}")));
    }
    let process = process.parse().map_err(|_| wrong(format!("{process:?} is no process number")))?;
    let phase = kind.strip_prefix(':').and_then(phase).ok_or_else(|| wrong(format!("unknown type {kind:?}")))?;
    let action = action(line, phase, function, value)?;
    Ok(Some(Event { process: Process(process), phase, action, line }))
}

/// The first word and what follows it.
fn field(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn action(line: usize, phase: Phase, function: &str, value: &str) -> Result<RegisterAction, HistoryError> {
    let wrong = |what: String| HistoryError::malformed(line, what);
    if !matches!(function, ":read" | ":write" | ":cas") {
        return Err(wrong(format!("a register knows :read, :write and :cas, not {function:?}")));
    }
    // What failed or is of unknown fate names a reason where its value stood.
    if matches!(phase, Phase::Fail | Phase::Unknown) || function == ":read" && phase == Phase::Invoke {
        return Ok(RegisterAction::Read(None));
    }
    let values = read_all(value).map_err(|_| wrong(format!("{value:?} is no value")))?;
    match (function, &values[..]) {
        (":read", [value]) => Ok(RegisterAction::Read(Some(content(line, value)?))),
        (":write", [value]) => Ok(RegisterAction::Write(content(line, value)?)),
        (":cas", [Edn::Sequence(pair)]) if pair.len() == 2 => {
            let [expected, new] = [content(line, &pair[0])?, content(line, &pair[1])?];
            Ok(RegisterAction::CompareAndSet { expected, new })
        }
        _ => Err(wrong(format!("{function} cannot have the value {value:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Fate, Operation};

    const LOG: &str = "INFO  jepsen.util - 0\t:invoke\t:write\t3\n\
                       2015-01-01 10:00:00,000 WARN  jepsen.client - retrying\n\
                       INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
                       INFO  jepsen.util - 1   :invoke :cas   [3 4]\n\
                       INFO  jepsen.util - 0\t:ok\t:write\t3\n\
                       INFO  jepsen.util - 1\t:info\t:cas\t:timed-out\n\
                       INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
                       INFO  jepsen.util - 0\t:ok\t:read\tnil\n";

    #[test]
    fn a_log_becomes_operations() {
        let operations = register_log(LOG).expect("it is a log");
        let shown: Vec<_> = operations
            .iter()
            .map(|Operation { process, action, fate, line, .. }| (process.0, action.to_string(), *fate, *line))
            .collect();
        let expected = [
            (0, "write 3".to_owned(), Fate::Ok, 1),
            (1, "cas 3 4".to_owned(), Fate::Unknown, 4),
            (0, "read nil".to_owned(), Fate::Ok, 7),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_cannot_be_true_is_refused_with_its_line() {
        let refused = |text: &str| register_log(text).expect_err("it is wrong").to_string();
        assert!(refused("INFO  jepsen.util - 0 :invoke :write 1\nINFO  jepsen.ut").starts_with("line 2: not a line"));
        assert!(refused("INFO  jepsen.util - 0 :ok :write 1").contains("line 1: process 0 ends an operation"));
        let twice = "INFO  jepsen.util - 0 :invoke :write 1\nINFO  jepsen.util - 0 :invoke :write 1";
        assert!(refused(twice).starts_with("line 2: process 0 invokes"));
        let other = "INFO  jepsen.util - 0 :invoke :write 1\nINFO  jepsen.util - 0 :ok :write 2";
        assert!(refused(other).contains("write 1 is not write 2"));
        assert!(refused("INFO  jepsen.util - 0 :invoke :push 1").contains(":push"));
        assert!(refused("").contains("no operation"));
    }
}
