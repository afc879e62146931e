//! Room: when it runs short, writes that grow the state are refused, before the disk is full.
//!
//! Two limits are watched: the quota (bytes of state, as etcd's `--quota-backend-bytes`) and the file system's free
//! space. Crossing either raises the NOSPACE alarm through the log, so that every member refuses the same writes.
//! Deletes, compaction and reads go on, and free what is needed.

use std::time::Duration;

use holdfast_proto::etcdserverpb::alarm_request::AlarmAction;
use holdfast_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};

use super::{Deadline, Ops, OpsError};
use crate::rt;
use crate::state::{self, command};

const TICK: Duration = Duration::from_secs(1);
/// Free space below which growing writes stop. It leaves room for the log's next segments, a compaction and a
/// checkpoint's new files.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;

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

/// Why there is no room, in words for the log; none if there is.
fn shortage(ops: &Ops) -> Option<String> {
    let quota = ops.limits().quota_bytes_max;
    match ops.usage() {
        Ok(usage) if usage.total_bytes > quota => {
            return Some(format!("the state holds {} of {quota} bytes", usage.total_bytes));
        }
        Ok(_) => {}
        Err(error) => ops.inner.halt.now(&format!("the state's size cannot be told: {error}")),
    }
    match ops.inner.disk.free_bytes(&ops.inner.data_dir) {
        Ok(free) if free < FREE_BYTES_MIN => Some(format!("{free} bytes are free in {}", ops.inner.data_dir.display())),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "free space cannot be told");
            None
        }
    }
}

/// Watches the room, as long as the node.
pub async fn run(ops: Ops) {
    loop {
        rt::sleep(TICK).await;
        let Some(why) = shortage(&ops) else { continue };
        if ops.has_own_space_alarm() {
            continue;
        }
        tracing::error!(why, "NOSPACE: growing writes are refused; see docs/OPERATIONS.md, \"No space\"");
        let raise = AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: ops.me().0,
            alarm: AlarmType::Nospace as i32,
        };
        if let Err(error) =
            ops.propose(command::alarm(raise), Deadline::after_ms(ops.limits().request_deadline_ms)).await
        {
            tracing::warn!(%error, "the NOSPACE alarm could not be raised yet");
        }
    }
}

impl Ops {
    fn has_own_space_alarm(&self) -> bool {
        let mine = |alarm: &AlarmMember| alarm.alarm == AlarmType::Nospace as i32 && alarm.member_id == self.me().0;
        self.alarms().is_ok_and(|alarms| alarms.iter().any(mine))
    }
}
