//! Every limit of the server, with its unit in its name and etcd's default where etcd has the limit.

/// What a node accepts before it refuses. All are finite: a full queue answers with an error, it never grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request, as encoded on the wire.
    pub request_bytes_max: usize,
    /// Operations in one transaction: the larger of its compares, its success list and its failure list.
    pub txn_ops_max: usize,
    /// Size of the state at which growing writes are refused. etcd's `--quota-backend-bytes`.
    pub quota_bytes_max: u64,
    /// Learners at a time.
    pub learners_max: usize,
    /// Seconds.
    pub lease_ttl_s_max: i64,
    /// Commands waiting to be proposed on this member.
    pub proposals_waiting_max: usize,
    /// Bytes of commands waiting to be proposed on this member.
    pub proposals_waiting_bytes_max: usize,
    /// Commands that share one log entry.
    pub batch_commands_max: usize,
    /// Bytes of commands that share one log entry. One larger command travels alone.
    pub batch_bytes_max: usize,
    /// Events held for one watcher before it is sent back to reading history.
    pub watcher_events_max: usize,
    /// Bytes of events held for one watcher before it is sent back to reading history.
    pub watcher_bytes_max: usize,
    /// Bytes of events that one step of a stream's work makes: what is left waits for the next step.
    pub watch_step_bytes_max: usize,
    /// Watchers on one stream.
    pub stream_watchers_max: usize,
    /// Deadline of a request that brought none, in milliseconds.
    pub request_deadline_ms: u64,
    /// Calls under way at once on one connection, and over JSON on all connections together. Further ones wait.
    pub streams_max: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 3 * 512 * 1024,
            txn_ops_max: 128,
            quota_bytes_max: 2 * 1024 * 1024 * 1024,
            learners_max: 1,
            lease_ttl_s_max: 9_000_000_000,
            proposals_waiting_max: 8192,
            proposals_waiting_bytes_max: 64 * 1024 * 1024,
            batch_commands_max: 512,
            batch_bytes_max: 1024 * 1024,
            watcher_events_max: 1024,
            watcher_bytes_max: 1024 * 1024,
            watch_step_bytes_max: 1024 * 1024,
            stream_watchers_max: 100_000,
            request_deadline_ms: 5_000,
            streams_max: None,
        }
    }
}
