//! From events to operations: each invocation is joined with its end, and a file that cannot be true is refused.

use std::collections::BTreeMap;

use super::{Fate, HistoryError, Operation, Phase, Process};

/// One line of a record.
#[derive(Clone, Debug)]
pub struct Event<A> {
    pub process: Process,
    pub phase: Phase,
    pub action: A,
    pub line: usize,
}

/// What an operation's end tells about what was asked.
pub trait Answered: Sized {
    /// The invocation completed by what its `ok` says; an error says how the two differ.
    fn answered(&self, end: &Self) -> Result<Self, String>;
    /// The invocation as it stands when nothing was answered.
    fn unanswered(&self) -> Self;
}

pub fn pair<A: Answered + Clone>(events: &[Event<A>]) -> Result<Vec<Operation<A>>, HistoryError> {
    let mut operations: Vec<Operation<A>> = Vec::new();
    let mut open: BTreeMap<Process, usize> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let Event { process, phase, ref action, line } = *event;
        if phase == Phase::Invoke {
            if let Some(&at) = open.get(&process) {
                return Err(HistoryError::Busy { line, process, pending: operations[at].line });
            }
            open.insert(process, operations.len());
            let action = action.unanswered();
            operations.push(Operation { process, action, fate: Fate::Unknown, called: place, returned: None, line });
            continue;
        }
        let at = open.remove(&process).ok_or(HistoryError::NotInvoked { line, process })?;
        let operation = &mut operations[at];
        operation.returned = Some(place);
        match phase {
            Phase::Ok => {
                let pending = operation.line;
                let answered = operation.action.answered(action);
                operation.action = answered.map_err(|what| HistoryError::Different { line, process, pending, what })?;
                operation.fate = Fate::Ok;
            }
            Phase::Fail => operation.fate = Fate::Failed,
            Phase::Invoke | Phase::Unknown => {}
        }
    }
    if operations.is_empty() { Err(HistoryError::Empty) } else { Ok(operations) }
}
