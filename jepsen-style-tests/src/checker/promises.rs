//! What members promise one another, checked at the moment each promise is made: the rules of Raft that no member can
//! check alone.
//!
//! ```text
//!   one leader a term      no two members have a vote for themselves that a quorum confirmed
//!   vote never lost        what a member's log opens with is no older than what it voted last
//!   log never lost         ... nor shorter than what it acknowledged, unless a leader cut it
//!   a cut is a cut         ... nor does it end with what was cut off
//!   log matching           one content for each <term, index>
//!   committed for ever     one entry for each index, on every member that applies it
//! ```

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use holdfast_node::env::witness::Promise;
use holdfast_node::types::{LogId, MemberId, Vote};

/// Of a run that goes wrong only the beginning is of interest.
const BROKEN_MAX: usize = 20;

/// All that was promised so far.
#[derive(Debug, Default)]
pub struct Ledger {
    members: BTreeMap<MemberId, Member>,
    /// By term.
    leaders: BTreeMap<u64, MemberId>,
    contents: BTreeMap<LogId, u32>,
    /// By index.
    applied: BTreeMap<u64, (LogId, u32)>,
    broken: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Member {
    vote: Option<Vote>,
    /// One past the last index that must still be there.
    acknowledged_end: u64,
    /// Terms by index of what is on its disk.
    on_disk: BTreeMap<u64, u64>,
    /// What was cut off on disk, and not written again.
    cut: BTreeSet<LogId>,
}

impl Member {
    fn cut(&mut self, after: Option<LogId>) {
        let gone = self.on_disk.split_off(&end(after));
        self.cut.extend(gone.into_iter().map(|(index, term)| LogId { term, index }));
    }
}

impl Ledger {
    /// Notes a promise. The error says what it broke.
    pub fn hear(&mut self, member: MemberId, promise: Promise) -> Result<(), String> {
        let kept = self.check(member, promise);
        if let Err(what) = &kept
            && self.broken.len() < BROKEN_MAX
        {
            self.broken.push(what.clone());
        }
        kept
    }

    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    fn check(&mut self, id: MemberId, promise: Promise) -> Result<(), String> {
        let member = self.members.entry(id).or_default();
        match promise {
            Promise::Opened { vote, last } => {
                // Who won is not kept for its own sake: a leader's next message says it.
                let kept = member.vote.map(|before| Vote { committed: false, ..before });
                if let Some(before) = kept.filter(|kept| forgets(*kept, vote)) {
                    return Err(format!("member {id} voted {before:?}, and its log opens with {vote:?}"));
                }
                let end = end(last);
                if end < member.acknowledged_end {
                    let last = member.acknowledged_end - 1;
                    return Err(format!("member {id} had acknowledged entry {last}, and its log opens without it"));
                }
                if let Some(last) = last.filter(|last| member.cut.contains(last)) {
                    return Err(format!("a leader had cut entry {last} off member {id}'s log, which opens with it"));
                }
                Ok(())
            }
            Promise::Voted { vote } => {
                if let Some(before) = member.vote.filter(|before| forgets(*before, Some(vote))) {
                    return Err(format!("member {id} voted {before:?}, and then {vote:?}"));
                }
                member.vote = Some(vote);
                self.elect(id, vote)
            }
            Promise::Appended { log_id, checksum } => {
                member.on_disk.insert(log_id.index, log_id.term);
                member.cut.remove(&log_id);
                match self.contents.entry(log_id) {
                    Entry::Occupied(known) if *known.get() != checksum => {
                        Err(format!("member {id} has another entry at {log_id} than somebody else"))
                    }
                    known => {
                        known.or_insert(checksum);
                        Ok(())
                    }
                }
            }
            Promise::Acknowledged { last } => {
                member.acknowledged_end = last.index + 1;
                Ok(())
            }
            Promise::Truncated { after } => {
                member.acknowledged_end = member.acknowledged_end.min(end(after));
                Ok(())
            }
            Promise::Cut { after } => {
                member.cut(after);
                Ok(())
            }
            Promise::Applied { log_id, checksum } => match self.applied.entry(log_id.index) {
                Entry::Occupied(known) if *known.get() != (log_id, checksum) => {
                    Err(format!("member {id} applies {log_id}, where another one applied {}", known.get().0))
                }
                known => {
                    known.or_insert((log_id, checksum));
                    Ok(())
                }
            },
            Promise::Replaced { log_id } => match self.applied.get(&log_id.index) {
                Some((known, _)) if *known != log_id => {
                    Err(format!("member {id} is given a state up to {log_id}, where another one applied {known}"))
                }
                _ => Ok(()),
            },
        }
    }

    fn elect(&mut self, id: MemberId, vote: Vote) -> Result<(), String> {
        if !vote.committed || vote.node != id.0 {
            return Ok(());
        }
        match *self.leaders.entry(vote.term).or_insert(id) {
            leader if leader == id => Ok(()),
            leader => Err(format!("members {leader} and {id} both lead in term {}", vote.term)),
        }
    }
}

/// A member may learn who was elected in the term in which it voted for another one. All else is a vote forgotten.
fn forgets(before: Vote, now: Option<Vote>) -> bool {
    let Some(now) = now else { return true };
    let changed = (before.node, before.committed) != (now.node, now.committed);
    now.term < before.term || now.term == before.term && changed && (before.committed || !now.committed)
}

fn end(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);

    fn at(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    fn vote(term: u64, node: u64, committed: bool) -> Vote {
        Vote { term, node, committed }
    }

    /// Whether the last of these breaks something.
    fn breaks(promises: &[(MemberId, Promise)]) -> bool {
        let mut ledger = Ledger::default();
        let (last, before) = promises.split_last().unwrap();
        for (member, promise) in before {
            ledger.hear(*member, *promise).unwrap();
        }
        ledger.hear(last.0, last.1).is_err()
    }

    #[test]
    fn a_vote_is_given_once_and_kept() {
        let voted = |vote| (A, Promise::Voted { vote });
        let opened = |vote| (A, Promise::Opened { vote, last: None });
        assert!(!breaks(&[voted(vote(3, 1, false)), voted(vote(3, 2, true)), voted(vote(4, 1, false))]));
        assert!(breaks(&[voted(vote(3, 1, false)), voted(vote(3, 2, false))]));
        assert!(breaks(&[voted(vote(3, 1, false)), voted(vote(2, 1, true))]));
        assert!(!breaks(&[voted(vote(3, 1, false)), opened(Some(vote(3, 1, false)))]));
        assert!(!breaks(&[voted(vote(3, 1, true)), opened(Some(vote(3, 1, false)))]));
        assert!(breaks(&[voted(vote(3, 1, true)), opened(Some(vote(3, 2, false)))]));
        assert!(breaks(&[voted(vote(3, 1, true)), opened(Some(vote(3, 1, false))), voted(vote(3, 2, false))]));
        assert!(breaks(&[voted(vote(3, 1, false)), opened(Some(vote(2, 1, false)))]));
        assert!(breaks(&[voted(vote(3, 1, false)), opened(None)]));
    }

    #[test]
    fn a_term_has_one_leader() {
        let leads = |member: MemberId| (member, Promise::Voted { vote: vote(3, member.0, true) });
        assert!(!breaks(&[leads(A), (B, Promise::Voted { vote: vote(3, 1, true) })]));
        assert!(breaks(&[leads(A), leads(B)]));
    }

    #[test]
    fn what_was_acknowledged_is_still_there_unless_it_was_cut() {
        let acknowledged = (A, Promise::Acknowledged { last: at(1, 5) });
        let opened = |last| (A, Promise::Opened { vote: None, last });
        assert!(!breaks(&[acknowledged, opened(Some(at(1, 5)))]));
        assert!(breaks(&[acknowledged, opened(Some(at(1, 4)))]));
        assert!(breaks(&[acknowledged, opened(None)]));
        assert!(!breaks(&[acknowledged, (A, Promise::Truncated { after: Some(at(1, 4)) }), opened(Some(at(1, 4)))]));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let appended = |log_id| (A, Promise::Appended { log_id, checksum: 7 });
        let (all, cut) = ([at(1, 4), at(1, 5), at(1, 6)].map(appended), (A, Promise::Cut { after: Some(at(1, 4)) }));
        let opened = |last| (A, Promise::Opened { vote: None, last: Some(last) });
        let begun = (A, Promise::Truncated { after: Some(at(1, 4)) });
        let story = |rest: &[(MemberId, Promise)]| [&all[..], rest].concat();
        assert!(!breaks(&story(&[begun, opened(at(1, 6))])), "power went first");
        assert!(breaks(&story(&[begun, cut, opened(at(1, 6))])));
        assert!(!breaks(&story(&[begun, cut, opened(at(1, 4))])));
        assert!(!breaks(&story(&[begun, cut, appended(at(2, 5)), opened(at(2, 5))])));
        assert!(breaks(&story(&[begun, cut, appended(at(2, 5)), opened(at(1, 6))])));
        assert!(!breaks(&story(&[begun, cut, appended(at(1, 5)), opened(at(1, 5))])), "it was sent again");
    }

    #[test]
    fn entries_are_the_same_everywhere_and_what_is_applied_stays() {
        let appended = |member, checksum| (member, Promise::Appended { log_id: at(1, 5), checksum });
        assert!(!breaks(&[appended(A, 7), appended(B, 7)]));
        assert!(breaks(&[appended(A, 7), appended(B, 8)]));
        let applied = |member, log_id| (member, Promise::Applied { log_id, checksum: 7 });
        assert!(!breaks(&[applied(A, at(1, 5)), applied(B, at(1, 5))]));
        assert!(breaks(&[applied(A, at(1, 5)), applied(B, at(2, 5))]));
        assert!(breaks(&[applied(A, at(1, 5)), (B, Promise::Replaced { log_id: at(2, 5) })]));
    }
}
