//! What must hold of one member's standing at every moment, checked at every change, in every build.
//!
//! Each of these is openraft's to keep. If one breaks, what this member says is not to be trusted any more: it stops.

/// Where a member stands; `None` is before the first entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub term: u64,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    pub snapshot: Option<u64>,
    pub purged: Option<u64>,
}

/// The last position that was seen.
#[derive(Debug, Default)]
pub struct Invariants {
    before: Position,
}

impl Invariants {
    /// Says what was broken on the way to `now`, if anything was.
    pub fn check(&mut self, now: Position) -> Result<(), String> {
        let before = std::mem::replace(&mut self.before, now);
        let grew = [
            ("term", Some(before.term), Some(now.term)),
            ("commit index", before.committed, now.committed),
            ("applied index", before.applied, now.applied),
            ("purged index", before.purged, now.purged),
        ];
        if let Some((what, before, now)) = grew.into_iter().find(|(_, before, now)| before > now) {
            return Err(format!("the {what} went back from {before:?} to {now:?}"));
        }
        if now.applied > now.committed {
            return Err(format!("entry {:?} was applied, and only {:?} is committed", now.applied, now.committed));
        }
        if now.purged > now.snapshot.max(now.applied) {
            return Err(format!("the log was purged up to {:?}, which no state covers: {now:?}", now.purged));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Position =
        Position { term: 3, committed: Some(9), applied: Some(8), snapshot: Some(5), purged: Some(2) };

    fn then(now: Position) -> Result<(), String> {
        let mut invariants = Invariants::default();
        invariants.check(SOUND).and_then(|()| invariants.check(now))
    }

    #[test]
    fn what_grows_may_stay_and_may_not_fall() {
        assert_eq!(then(SOUND), Ok(()));
        assert_eq!(then(Position { term: 4, committed: Some(10), applied: Some(10), ..SOUND }), Ok(()));
        let fallen = [
            Position { term: 2, ..SOUND },
            Position { committed: Some(8), ..SOUND },
            Position { applied: Some(7), ..SOUND },
            Position { purged: None, ..SOUND },
        ];
        assert!(fallen.into_iter().all(|now| then(now).is_err()));
    }

    #[test]
    fn nothing_runs_ahead_of_what_it_follows() {
        assert!(then(Position { applied: Some(10), ..SOUND }).is_err(), "ahead of the commit index");
        assert!(then(Position { purged: Some(9), ..SOUND }).is_err(), "ahead of every state");
        assert_eq!(then(Position { snapshot: Some(9), purged: Some(9), ..SOUND }), Ok(()), "being installed");
    }
}
