//! What a script talks to: one member, as the log and the API would use it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::{AlarmRequest, AlarmType, CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest};
use holdfast_proto::log;

use super::parse::{self, Words};
use super::{rows, show};
use crate::auth::{AuthState, Caller, Identity};
use crate::lease::{self, LeaseTable};
use crate::mvcc::{self, Horizon, Rev};
use crate::state::{self, Entry, EntryPayload, Machine, command, validate};
use crate::storage::{Batch, Column, Engine};
use crate::types::{LeaseId, Limits, LogId, Revision};

pub struct World {
    engine: Arc<dyn Engine>,
    leases: LeaseTable,
    now: Duration,
    term: u64,
    index: u64,
    txn_ops_max: usize,
    ttl_min: Duration,
    /// On whose behalf commands are given.
    caller: Caller,
}

impl World {
    pub fn new() -> Self {
        let limits = Limits::default();
        Self {
            engine: super::engine(),
            leases: LeaseTable::default(),
            now: Duration::ZERO,
            term: 1,
            index: 0,
            txn_ops_max: limits.txn_ops_max,
            ttl_min: Duration::from_secs(2),
            caller: Caller::Nobody,
        }
    }

    /// Carries out one line of a script.
    pub fn run(&mut self, line: &str) -> String {
        let words = Words::of(line);
        match words.plain[0] {
            "put" | "del" | "txn" | "compact" | "grant" | "revoke" | "expire" | "alarm" => self.write(line, &words),
            "auth" | "user" | "role" => self.auth(&words),
            "as" => {
                self.caller = parse::caller_of(&words);
                String::new()
            }
            "get" | "history" | "hashkv" | "leases" | "keys_of" | "disk" | "stamped" => self.read(&words),
            "sweep" => self.sweep(words.plain_number(1)),
            "damage" => self.damage(&words),
            "term" => {
                self.term = words.plain_number(1).unwrap() as u64;
                String::new()
            }
            "txn_ops_max" => {
                self.txn_ops_max = words.plain_number(1).unwrap() as usize;
                String::new()
            }
            "at" | "promote" | "demote" | "renew" | "remaining" | "expired" | "restore" | "retry" => {
                self.clockwork(&words)
            }
            other => panic!("{other}: no command"),
        }
    }

    fn write(&mut self, line: &str, words: &Words<'_>) -> String {
        let command = match self.command(line, words) {
            Ok(command) => command,
            Err(invalid) => return format!("invalid: {invalid}\n"),
        };
        self.propose(command)
    }

    fn command(&self, line: &str, words: &Words<'_>) -> Result<log::Command, validate::InvalidRequest> {
        let mut command = match words.plain[0] {
            "put" => {
                let request = parse::put_of(words);
                validate::put(&request)?;
                command::put(request)
            }
            "del" => {
                let request = parse::delete_of(words);
                validate::delete_range(&request)?;
                command::delete_range(request)
            }
            "txn" => {
                let request = parse::txn_of(line);
                validate::txn(&request, self.txn_ops_max)?;
                command::txn(request)
            }
            "compact" => {
                command::compact(CompactionRequest { revision: words.plain_number(1).unwrap(), physical: false })
            }
            "grant" => {
                let request =
                    LeaseGrantRequest { id: words.plain_number(1).unwrap(), ttl: words.number("ttl").unwrap() };
                validate::lease_grant(&request, Limits::default().lease_ttl_s_max)?;
                command::lease_grant(request, self.ttl_min)
            }
            "revoke" => command::lease_revoke(LeaseRevokeRequest { id: words.plain_number(1).unwrap() }),
            "expire" => {
                let leader_term = words.number("term").map_or(self.term, |term| term as u64);
                command::lease_expire(&ids(words), leader_term)
            }
            "alarm" if words.has("itself") => command::alarm_of_member(alarm_of(words)),
            "alarm" => command::alarm(alarm_of(words)),
            other => panic!("{other}: no command"),
        };
        if words.has("bad_checksum") {
            command.value_checksums[0] ^= 1;
        }
        command.guard = parse::guard_of(words);
        if words.has("no_checksum") {
            command.value_checksums.clear();
        }
        Ok(command)
    }

    /// Users and roles: to change them, to show them.
    fn auth(&mut self, words: &Words<'_>) -> String {
        match parse::auth_change_of(words) {
            Some(change) => self.propose(command::auth_change(change)),
            None => show::auth(&*self.engine.view()),
        }
    }

    fn propose(&mut self, mut command: log::Command) -> String {
        // As of the newest auth revision, unless the script says that it was recognised before.
        let revision = AuthState::load(&*self.engine.view()).unwrap().revision;
        command.caller = match &self.caller {
            Caller::User(identity) if identity.auth_revision == 0 => {
                Caller::User(Identity { auth_revision: revision, ..identity.clone() }).to_wire()
            }
            other => other.to_wire(),
        };
        let batch = log::Batch { stamped_unix_ms: self.now.as_millis() as u64, commands: vec![command] };
        let log_id = LogId { term: self.term, index: self.index + 1 };
        let entry = Entry { log_id, payload: EntryPayload::Commands(batch) };
        let applied = Machine.apply(&*self.engine.view(), &[entry]);
        let effects = match applied {
            Ok(effects) => effects,
            Err(error) => return format!("stops the node: {error}\n"),
        };
        self.index += 1;
        self.engine.write(effects.batch).unwrap();
        self.leases.absorb(&effects.lease_changes, self.now);
        let mut text = show::outcome(&effects.outcomes[0][0]);
        for revisioned in &effects.published {
            for event in &revisioned.events {
                assert_eq!(event.rev.main, revisioned.revision);
                text += &show::event(event);
            }
        }
        text
    }

    fn read(&self, words: &Words<'_>) -> String {
        self.try_read(words).unwrap_or_else(|error| format!("error: {error}\n"))
    }

    fn try_read(&self, words: &Words<'_>) -> Result<String, mvcc::ReadError> {
        let view = self.engine.view();
        Ok(match words.plain[0] {
            "get" => {
                let request = parse::get_of(words);
                if let Err(invalid) = validate::range(&request) {
                    return Ok(format!("invalid: {invalid}\n"));
                }
                show::range(&mvcc::range(&*view, &request)?, "")
            }
            "history" => {
                let from = Revision(words.plain_number(1).unwrap());
                let upto = Revision(words.plain_number(2).unwrap_or(i64::MAX - 1));
                let limit_bytes = words.number("bytes").map_or(usize::MAX, |bytes| bytes as usize);
                let chunk = mvcc::history(&*view, from, upto, limit_bytes)?;
                let horizon = Horizon::load(&*view)?;
                let mut text = format!("next {}\n", chunk.next);
                for event in &chunk.events {
                    text += &show::event(event);
                    if let Some(kv) = mvcc::prev_kv(&*view, &horizon, event)? {
                        writeln!(text, "       was {}", show::key_value(&kv)).unwrap();
                    }
                }
                text
            }
            "hashkv" => {
                let hash = mvcc::hash_kv(&*view, Revision(words.plain_number(1).unwrap_or(0)))?;
                format!("{:08x} at rev {}, compacted {}\n", hash.hash, hash.hash_revision, hash.compact_revision)
            }
            "leases" => {
                let leases = lease::leases(&*view)?;
                let shown: Vec<_> = leases.iter().map(|(id, ttl_s)| format!("{} ttl {ttl_s}", id.0)).collect();
                format!("leases: {}\n", shown.join(", "))
            }
            "keys_of" => {
                let keys = lease::attached_keys(&*view, LeaseId(words.plain_number(1).unwrap()))?;
                let shown: Vec<_> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
                format!("keys: {}\n", shown.join(" "))
            }
            "disk" => {
                let events = rows(&*view, Column::History).into_iter().map(|(rev, _)| Rev::decode(&rev).unwrap());
                let events: Vec<_> = events.map(|rev| rev.to_string()).collect();
                let versions = rows(&*view, Column::Versions).len();
                format!("events {}; {versions} versions; swept {}\n", events.join(" "), mvcc::swept(&*view)?)
            }
            "stamped" => format!("{} ms\n", state::stamped_unix_ms(&*view)?),
            other => panic!("{other}: nothing to read"),
        })
    }

    /// Without a limit, to the end.
    fn sweep(&mut self, limit: Option<i64>) -> String {
        let step = mvcc::sweep(&*self.engine.view(), limit.map_or(usize::MAX, |limit| limit as usize)).unwrap();
        self.engine.write(step.batch).unwrap();
        if step.done { "done\n".to_owned() } else { "more\n".to_owned() }
    }

    /// Turns the last bit of an event's row.
    fn damage(&mut self, words: &Words<'_>) -> String {
        let (main, sub) = words.plain[1].split_once('.').unwrap();
        let rev = Rev { main: Revision(main.parse().unwrap()), sub: sub.parse().unwrap() }.encode();
        let mut row = self.engine.view().get(Column::History, &rev).unwrap().unwrap().to_vec();
        *row.last_mut().unwrap() ^= 1;
        let mut batch = Batch::default();
        batch.put(Column::History, rev.to_vec(), row);
        self.engine.write(batch).unwrap();
        String::new()
    }

    fn clockwork(&mut self, words: &Words<'_>) -> String {
        let now = self.now;
        let id = || ids(words)[0];
        let seconds = |time: Option<Duration>| time.map_or("none".to_owned(), |time| format!("{} s", time.as_secs()));
        match words.plain[0] {
            "at" => {
                self.now = Duration::from_secs(words.plain_number(1).unwrap() as u64);
                String::new()
            }
            "promote" => {
                self.leases = LeaseTable::load(&*self.engine.view()).unwrap();
                self.leases.promote(now, Duration::from_secs(words.number("extend").unwrap_or(0) as u64));
                String::new()
            }
            "demote" => {
                self.leases.demote();
                String::new()
            }
            "renew" => format!("{}\n", seconds(self.leases.renew(id(), now))),
            "remaining" => {
                let granted = self.leases.lookup(id());
                format!("{} of {}\n", seconds(self.leases.remaining(id(), now)), seconds(granted))
            }
            "expired" => {
                let expired = self.leases.expired(now, words.plain_number(1).unwrap_or(1000) as usize);
                format!("{:?}\n", expired.iter().map(|id| id.0).collect::<Vec<_>>())
            }
            "restore" => {
                self.leases.restore_in_flight(&ids(words));
                String::new()
            }
            "retry" => {
                self.leases.retry_in_flight(&ids(words));
                String::new()
            }
            other => panic!("{other}: not about time"),
        }
    }
}

fn ids(words: &Words<'_>) -> Vec<LeaseId> {
    (1..words.plain.len()).map(|at| LeaseId(words.plain_number(at).unwrap())).collect()
}

fn alarm_of(words: &Words<'_>) -> AlarmRequest {
    let action = match words.plain[1] {
        "get" => AlarmAction::Get,
        "activate" => AlarmAction::Activate,
        "deactivate" => AlarmAction::Deactivate,
        other => panic!("{other}: no action"),
    };
    let alarm = match words.plain.get(2) {
        None => AlarmType::None,
        Some(&"nospace") => AlarmType::Nospace,
        Some(&"corrupt") => AlarmType::Corrupt,
        Some(other) => panic!("{other}: no alarm"),
    };
    let member_id = words.number("member").unwrap_or(0) as u64;
    AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 }
}
