//! Room: when it runs short, writes that grow the state are refused, before the disk is full; when it is back, they are
//! taken again.
//!
//! ```text
//!                     quota                              free on the file system
//!   short             more than the quota is used        less than 256 MiB       alarm NOSPACE is raised
//!   neither           in between                         in between              whatever was, stays
//!   room              at most 95 % of the quota          384 MiB or more         after 3 s the alarm is ended
//! ```
//!
//! Two limits are watched: the quota (bytes of state, as etcd's `--quota-backend-bytes`) and the file systems' free
//! space. The alarm goes through the log, so that every member refuses the same writes. Deletes, compaction and reads
//! go on, and free what is needed. What compaction freed inside the engine is given back by rewriting its files; with
//! the alarm on that is done unasked.
//!
//! A member ends what it raised itself. An alarm that an operator raised only an operator ends. What a member raised
//! that is no member any more, the leader ends.

use std::path::Path;
use std::time::Duration;

use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};

use super::{Deadline, Ops, OpsError};
use crate::env::{Disk, sometimes};
use crate::mvcc;
use crate::rt;
use crate::state::{self, RaisedBy, command};
use crate::storage::{EngineError, Usage};
use crate::types::{MemberId, Revision};

const TICK: Duration = Duration::from_secs(1);
/// Free space below which growing writes stop. It leaves room for the log's next segments, a compaction and a
/// checkpoint's new files.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// Free space at which they go on. More, or they would stop again with the next checkpoint.
const FREE_BYTES_ENOUGH: u64 = FREE_BYTES_MIN / 2 * 3;
/// The part of the quota that may be in use when they go on, in percent.
const USED_PERCENT_ENOUGH: u64 = 95;
/// So many looks in a row must find room before the alarm is ended.
const LOOKS_WITH_ROOM: u32 = 3;

impl Ops {
    /// The alarms that are raised, as this member's state has them.
    pub fn alarms(&self) -> Result<Vec<AlarmMember>, OpsError> {
        let engine = self.store().engine();
        Ok(state::alarms(engine.view().as_ref())?)
    }

    /// Whether growing writes are refused at the moment.
    pub(super) fn has_space_alarm(&self) -> bool {
        self.alarms().is_ok_and(|alarms| alarms.iter().any(|alarm| alarm.alarm == AlarmType::Nospace as i32))
    }
}

/// How much room there is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Room {
    /// Too little, and why, in words for the log.
    Short(String),
    /// Neither too little to go on, nor enough to begin again.
    Tight,
    Enough,
}

fn of_quota(usage: &Usage, quota: u64) -> Room {
    let enough = u128::from(usage.total_bytes) * 100 <= u128::from(quota) * u128::from(USED_PERCENT_ENOUGH);
    match usage.total_bytes {
        used if used > quota => Room::Short(format!("the state holds {used} of {quota} bytes")),
        _ if enough => Room::Enough,
        _ => Room::Tight,
    }
}

/// The least there is on any of the file systems.
fn of_disk(disk: &dyn Disk, dirs: &[&Path]) -> Room {
    let mut least = Room::Enough;
    for dir in dirs {
        match disk.free_bytes(dir) {
            Ok(free) if free < FREE_BYTES_MIN => {
                return Room::Short(format!("{free} bytes are free in {}", dir.display()));
            }
            Ok(free) if free < FREE_BYTES_ENOUGH => least = Room::Tight,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "free space cannot be told");
                least = Room::Tight;
            }
        }
    }
    least
}

/// What one look found.
struct Look {
    quota: Room,
    disk: Room,
}

impl Look {
    /// Why there is too little room, if there is.
    fn shortage(&self) -> Option<&str> {
        match (&self.quota, &self.disk) {
            (Room::Short(why), _) | (_, Room::Short(why)) => Some(why),
            _ => None,
        }
    }

    fn has_room(&self) -> bool {
        self.quota == Room::Enough && self.disk == Room::Enough
    }
}

/// Watches the room, as long as the node.
pub async fn run(ops: Ops) {
    let mut looks_with_room = 0;
    let mut reclaimed_at = Revision(0);
    loop {
        rt::sleep(TICK).await;
        let usage = match ops.usage() {
            Ok(usage) => usage,
            Err(error) => return ops.inner.halt.now(&format!("the state's size cannot be told: {error}")),
        };
        let look = Look {
            quota: of_quota(&usage, ops.limits().quota_bytes_max),
            disk: of_disk(ops.inner.disk.as_ref(), &[&ops.inner.data_dir, &ops.inner.wal_dir]),
        };
        looks_with_room = if look.has_room() { looks_with_room + 1 } else { 0 };
        // An alarm that cannot be read stops the node elsewhere.
        let Ok(raised) = ops.space_alarms() else { continue };
        let mine = raised.iter().find(|(member, _)| *member == ops.me()).map(|(_, by)| *by);
        match (look.shortage(), mine) {
            (Some(why), None) => ops.raise_space_alarm(why).await,
            (Some(_), Some(_)) => reclaimed_at = ops.reclaim_after_compaction(reclaimed_at).await,
            (None, Some(RaisedBy::Member)) if looks_with_room >= LOOKS_WITH_ROOM => {
                ops.end_space_alarm(ops.me(), "there is room again").await;
            }
            (None, _) => {}
        }
        if ops.replica().leads() {
            let Ok(members) = ops.agreed_members() else { continue };
            for (gone, _) in raised.iter().filter(|(id, by)| *by == RaisedBy::Member && members.get(*id).is_none()) {
                ops.end_space_alarm(*gone, "its member is gone").await;
            }
        }
    }
}

impl Ops {
    fn space_alarms(&self) -> Result<Vec<(MemberId, RaisedBy)>, EngineError> {
        state::alarms_raised(self.store().engine().view().as_ref(), AlarmType::Nospace)
    }

    async fn raise_space_alarm(&self, why: &str) {
        sometimes!(DiskFull);
        tracing::error!(why, "NOSPACE: growing writes are refused; see docs/OPERATIONS.md, \"No space\"");
        if let Err(error) = self.change_space_alarm(AlarmAction::Activate, self.me()).await {
            tracing::warn!(%error, "the NOSPACE alarm could not be raised yet");
        } else {
            self.inner.space_metrics.raised.inc();
        }
    }

    async fn end_space_alarm(&self, member: MemberId, why: &str) {
        if let Err(error) = self.change_space_alarm(AlarmAction::Deactivate, member).await {
            tracing::warn!(%error, "the NOSPACE alarm could not be ended yet");
        } else {
            tracing::info!(%member, why, "NOSPACE has ended: growing writes are taken again");
            self.inner.space_metrics.ended.inc();
        }
    }

    async fn change_space_alarm(&self, action: AlarmAction, member: MemberId) -> Result<(), OpsError> {
        let request = AlarmRequest { action: action as i32, member_id: member.0, alarm: AlarmType::Nospace as i32 };
        let deadline = Deadline::after_ms(self.limits().request_deadline_ms);
        self.propose(command::alarm_of_member(request), deadline).await.map(drop)
    }

    /// History that was compacted away leaves the engine's files when they are rewritten. Once for each compaction, and
    /// not before it was swept: rewriting reads and writes everything there is.
    async fn reclaim_after_compaction(&self, reclaimed_at: Revision) -> Revision {
        let engine = self.store().engine();
        let swept = mvcc::swept(engine.view().as_ref()).unwrap_or(reclaimed_at);
        if swept <= reclaimed_at {
            return reclaimed_at;
        }
        tracing::info!(%swept, "history was dropped while space is short: its files are rewritten");
        match rt::blocking(move || engine.reclaim()).await {
            Ok(Ok(())) => swept,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the files could not be rewritten");
                swept
            }
            Err(_stopping) => swept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FaultyDisk;

    fn used(total_bytes: u64) -> Usage {
        Usage { total_bytes, live_bytes: total_bytes }
    }

    #[test]
    fn between_too_much_and_enough_room_nothing_changes() {
        assert!(matches!(of_quota(&used(1001), 1000), Room::Short(_)));
        assert_eq!(of_quota(&used(1000), 1000), Room::Tight);
        assert_eq!(of_quota(&used(951), 1000), Room::Tight);
        assert_eq!(of_quota(&used(950), 1000), Room::Enough);
        assert_eq!(of_quota(&used(u64::MAX / 2), u64::MAX), Room::Enough);
    }

    #[test]
    fn the_logs_own_file_system_is_watched_too() {
        let disk = FaultyDisk::new(1);
        let dirs = [Path::new("/data"), Path::new("/log")];
        assert_eq!(of_disk(&disk, &dirs), Room::Enough);
        disk.set_free_bytes(dirs[1], 5);
        assert_eq!(of_disk(&disk, &dirs), Room::Short("5 bytes are free in /log".to_owned()));
        assert_eq!(of_disk(&disk, &dirs[..1]), Room::Enough);
    }
}
