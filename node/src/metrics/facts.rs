//! What is looked up at a scrape.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use super::{Identity, register};

/// The declared states a node may be in, as operators see them.
pub const STATE_NAMES: [&str; 5] = ["ok", "repairing(log)", "repairing(state)", "stalled(disk)", "read-only(space)"];

/// A node as it is at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub has_leader: bool,
    pub is_leader: bool,
    pub is_learner: bool,
    /// One of [`STATE_NAMES`].
    pub state: &'static str,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub snapshot_index: u64,
    pub purged_index: u64,
    /// Commands that wait to be proposed.
    pub proposals_waiting: u64,
    /// Entries of the log that are rotten.
    pub log_holes: u64,
    pub members: u64,
    pub voters: u64,
    /// Zones whose loss would leave no quorum.
    pub zones_that_hold_a_quorum: u64,
    pub db_bytes: u64,
    pub db_live_bytes: u64,
    pub quota_bytes: u64,
    pub revision: i64,
    pub compact_revision: i64,
    pub watch_streams: u64,
    pub watchers: u64,
    pub slow_watchers: u64,
    pub pending_events: u64,
    pub leases: u64,
}

/// Where a gauge's number comes from.
type Read = fn(&Facts) -> i64;

#[derive(Clone, Debug)]
struct Shown {
    gauge: IntGauge,
    read: Read,
}

#[derive(Clone, Debug)]
pub(super) struct FactGauges {
    numbers: Vec<Shown>,
    states: IntGaugeVec,
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Name, help, and where the number comes from.
type Row = (&'static str, &'static str, Read);

const ROWS: [Row; 26] = [
    ("etcd_server_has_leader", "Whether this member knows of a leader.", |f| i64::from(f.has_leader)),
    ("etcd_server_is_leader", "Whether this member leads.", |f| i64::from(f.is_leader)),
    ("etcd_server_is_learner", "Whether this member has no vote.", |f| i64::from(f.is_learner)),
    ("etcd_server_proposals_committed_total", "Index of the last committed entry.", |f| number(f.committed_index)),
    ("etcd_server_proposals_applied_total", "Index of the last applied entry.", |f| number(f.applied_index)),
    ("etcd_server_proposals_pending", "Commands that wait to be proposed.", |f| number(f.proposals_waiting)),
    ("etcd_server_quota_backend_bytes", "Size at which growing writes are refused.", |f| number(f.quota_bytes)),
    ("etcd_mvcc_db_total_size_in_bytes", "Bytes of the state on this member.", |f| number(f.db_bytes)),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it that are live.", |f| number(f.db_live_bytes)),
    ("etcd_debugging_mvcc_current_revision", "The newest revision.", |f| f.revision),
    ("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction.", |f| f.compact_revision),
    ("etcd_debugging_mvcc_watch_stream_total", "Open watch streams.", |f| number(f.watch_streams)),
    ("etcd_debugging_mvcc_watcher_total", "Watchers.", |f| number(f.watchers)),
    ("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history.", |f| number(f.slow_watchers)),
    ("etcd_debugging_mvcc_pending_events_total", "Events queued for watchers.", |f| number(f.pending_events)),
    ("holdfast_leases", "Leases that exist.", |f| number(f.leases)),
    ("holdfast_raft_term", "The current term.", |f| number(f.term)),
    ("holdfast_raft_last_log_index", "Index of the last entry in this member's log.", |f| number(f.last_log_index)),
    ("holdfast_raft_snapshot_index", "Last entry in the newest checkpoint.", |f| number(f.snapshot_index)),
    ("holdfast_raft_purged_index", "Last entry dropped from the log.", |f| number(f.purged_index)),
    ("holdfast_log_holes", "Rotten entries of this member's log.", |f| number(f.log_holes)),
    ("holdfast_members", "Members of the cluster.", |f| number(f.members)),
    ("holdfast_voters", "Members with a vote.", |f| number(f.voters)),
    ("holdfast_zones_that_hold_a_quorum", "Zones whose loss stops the cluster.", |f| {
        number(f.zones_that_hold_a_quorum)
    }),
    ("etcd_network_known_peers", "Other members of the cluster.", |f| number(f.members.saturating_sub(1))),
    ("etcd_server_health_state", "1 while this member's declared state is ok.", |f| i64::from(f.state == "ok")),
];

impl FactGauges {
    pub fn register(registry: &Registry, identity: &Identity) -> Self {
        let shown =
            |(name, help, read): &Row| Shown { gauge: register(registry, IntGauge::new(*name, *help)), read: *read };
        let numbers = ROWS.iter().map(shown).collect();
        let labelled = |name: &str, help: &str, label: &str, value: &str| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), &[label])).with_label_values(&[value]).set(1);
        };
        let cluster_version: Vec<&str> = identity.etcd_version.splitn(3, '.').take(2).collect();
        labelled("etcd_server_id", "This member's id.", "server_id", &identity.member_id);
        labelled("etcd_server_version", "The etcd API spoken.", "server_version", identity.etcd_version);
        labelled("etcd_cluster_version", "The etcd API agreed on.", "cluster_version", &cluster_version.join("."));
        labelled("holdfast_version", "This member's version.", "version", identity.holdfast_version);
        labelled("holdfast_zone", "This member's availability zone.", "zone", &identity.zone);
        let help = "1 for the declared state this node is in.";
        let states = register(registry, IntGaugeVec::new(Opts::new("holdfast_node_state", help), &["state"]));
        Self { numbers, states }
    }

    pub fn set(&self, facts: &Facts) {
        for shown in &self.numbers {
            shown.gauge.set((shown.read)(facts));
        }
        for state in STATE_NAMES {
            self.states.with_label_values(&[state]).set(i64::from(state == facts.state));
        }
    }
}
