//! What cannot be equal, and why. The only place where a difference is excused.

use crate::script::Step;

/// Values that say something about the server or the moment, not about the data. They are replaced before the
/// comparison, wherever they stand.
pub struct Varying {
    /// As JSON and the `fields` format name it.
    pub names: &'static [&'static str],
    #[allow(dead_code, reason = "for the reader of the table")]
    pub reason: &'static str,
}

pub const VARYING: [Varying; 5] = [
    Varying { names: &["raft_term", "raftTerm", "RaftTerm"], reason: "elections are decided by chance" },
    Varying {
        names: &["raftIndex", "RaftIndex", "raftAppliedIndex", "RaftAppliedIndex"],
        reason: "what else is in the log (blank entries, members) is the server's own business",
    },
    Varying {
        names: &["dbSize", "DBSize", "dbSizeInUse", "DBSizeInUse"],
        reason: "the bytes of another storage engine",
    },
    Varying { names: &["version", "Version", "storageVersion"], reason: "the server says which version it is" },
    Varying { names: &["Took", "took"], reason: "how long it took" },
];

/// A command that is answered differently, and has to be.
pub struct Difference {
    /// The command begins so.
    pub command: &'static str,
    pub reason: &'static str,
}

const DIFFERENCES: [Difference; 4] = [
    Difference {
        command: "alarm list -w json",
        reason: "etcd 3.4 leaves the header out of this one answer; etcd 3.5 has it, as Holdfast does",
    },
    Difference {
        command: "snapshot status",
        reason: "the file is in etcd's format, but not page for page the same: hash, size and the number of keys in \
                 buckets of etcd's own differ",
    },
    Difference {
        command: "member add n5 --peer-urls=http://127.0.0.9:2390",
        reason: "etcd makes ids of URLs and the second: asked twice in one it says `member ID already exist`, else \
                 what Holdfast always says, `Peer URLs already exists`",
    },
    Difference {
        command: "member list -w simple",
        reason: "after `member update` etcd shows a learner as a voter, which it is not; Holdfast shows a learner",
    },
];

pub fn known(step: &Step) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| step.text().starts_with(difference.command))
}
