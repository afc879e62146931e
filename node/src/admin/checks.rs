//! The checks behind `/health`, `/livez` and `/readyz`.

use holdfast_proto::etcdserverpb::AlarmType;

use crate::ops::{Deadline, Ops};

/// How long a check may take, in milliseconds. A probe that waits longer has made up its mind.
const CHECK_MS_MAX: u64 = 5_000;

/// One thing that can be well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// This member's state can be read.
    SerializableRead,
    /// A quorum can be reached through a leader.
    LinearizableRead,
    /// No alarm says that some member's data is corrupt.
    DataCorruption,
    /// This member has a vote.
    NonLearner,
    /// The cluster knows this member's name, zone and client URLs. Not among etcd's: there, nothing is served before.
    Published,
}

impl Check {
    /// As long as these hold there is no use in a restart.
    pub const LIVE: [Check; 1] = [Check::SerializableRead];
    /// While these hold, clients can be sent here.
    pub const READY: [Check; 5] =
        [Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner, Check::Published];

    /// etcd's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::DataCorruption => "data_corruption",
            Check::NonLearner => "non_learner",
            Check::Published => "published",
        }
    }

    /// `Err` says what is the matter.
    pub async fn run(self, ops: &Ops) -> Result<(), String> {
        match self {
            Check::SerializableRead => ops.revision().map(|_revision| ()).map_err(|error| error.to_string()),
            Check::LinearizableRead => {
                ops.read_barrier(Deadline::after_ms(CHECK_MS_MAX)).await.map_err(|error| error.to_string())
            }
            Check::DataCorruption => match is_on(ops, AlarmType::Corrupt)? {
                true => Err("alarm activated: CORRUPT".to_owned()),
                false => Ok(()),
            },
            Check::NonLearner => {
                let is_learner = ops.members().get(ops.me()).is_some_and(crate::raft::MemberView::is_learner);
                if is_learner { Err("this member is a learner".to_owned()) } else { Ok(()) }
            }
            Check::Published => {
                let agreed = ops.agreed_members().map_err(|error| error.to_string())?;
                let is_known = agreed.get(ops.me()).is_some_and(|me| !me.member.client_urls.is_empty());
                if is_known {
                    Ok(())
                } else {
                    Err("the cluster does not know this member's client URLs yet".to_owned())
                }
            }
        }
    }
}

/// The alarms that are on, each kind once, by name.
pub fn alarms_on(ops: &Ops) -> Result<Vec<&'static str>, String> {
    let mut names = Vec::new();
    for kind in [AlarmType::Nospace, AlarmType::Corrupt] {
        if is_on(ops, kind)? {
            names.push(kind.as_str_name());
        }
    }
    Ok(names)
}

fn is_on(ops: &Ops, kind: AlarmType) -> Result<bool, String> {
    let alarms = ops.alarms().map_err(|error| error.to_string())?;
    Ok(alarms.iter().any(|alarm| alarm.alarm() == kind))
}
