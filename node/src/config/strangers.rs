//! etcd's settings that are none of ours: what becomes of each when this program is run as `etcd`.
//!
//! Harmless ones are named in the log and passed over. What would be missed is refused, with what to do instead.
//! Experiments that nobody here has heard of are passed over as well: they come and go with etcd's versions.

use super::ConfigError;
use super::catalogue::{Setting, Shape, setting};
use super::manner::Manner;
use super::sources::Given;
use super::values;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    pub name: &'static str,
    pub shape: Shape,
    pub fate: Fate,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Passed over, and why that does no harm.
    Passed(&'static str),
    /// Fine with this value; refused with any other, and what to do then.
    Only(&'static str, &'static str),
    /// Refused, and what to do.
    Refused(&'static str),
}

/// What a name means.
pub enum Meaning {
    Setting(&'static Setting),
    Stranger(&'static Stranger),
    /// One of etcd's experiments, unknown here.
    Experiment,
    Nothing,
}

/// What the names of etcd's experiments begin with.
pub const EXPERIMENT: &str = "experimental-";

/// What a name means in a manner of speaking.
pub fn meaning(manner: Manner, name: &str) -> Meaning {
    if let Some(setting) = setting(name) {
        return Meaning::Setting(setting);
    }
    if manner == Manner::Holdfast {
        return Meaning::Nothing;
    }
    if let Some(stranger) = STRANGERS.iter().find(|stranger| stranger.name == name) {
        return Meaning::Stranger(stranger);
    }
    match name.strip_prefix(EXPERIMENT) {
        // What was an experiment in one version of etcd has lost the prefix in a later one.
        Some(grown_up) => match setting(grown_up) {
            Some(setting) => Meaning::Setting(setting),
            None => Meaning::Experiment,
        },
        None => Meaning::Nothing,
    }
}

impl Stranger {
    /// What is to be said in the log about a value; or why the node does not start with it.
    pub fn take(&self, given: &Given) -> Result<Option<String>, ConfigError> {
        let described = given.describe(self.name);
        let is_off = match self.shape {
            Shape::Switch => {
                let switch = values::switch(&given.text).map_err(|expected| ConfigError::Invalid {
                    setting: described.clone(),
                    from: Some(given.source.clone()),
                    given: given.text.clone(),
                    expected: expected.0,
                })?;
                switch == values::Switch::Off
            }
            Shape::Value | Shape::Duration => false,
        };
        match self.fate {
            _ if is_off => Ok(None),
            Fate::Passed(why) => Ok(Some(format!("{described} has no effect: {why}"))),
            Fate::Only(only, _) if given.text == only => Ok(None),
            Fate::Only(_, instead) | Fate::Refused(instead) => Err(ConfigError::Conflict(format!(
                "{described} is {:?}, which Holdfast cannot do: {instead}",
                given.text
            ))),
        }
    }
}

const fn passed(shape: Shape, name: &'static str, why: &'static str) -> Stranger {
    Stranger { name, shape, fate: Fate::Passed(why) }
}

const fn refused(shape: Shape, name: &'static str, instead: &'static str) -> Stranger {
    Stranger { name, shape, fate: Fate::Refused(instead) }
}

const fn only(name: &'static str, value: &'static str, instead: &'static str) -> Stranger {
    Stranger { name, shape: Shape::Value, fate: Fate::Only(value, instead) }
}

const NO_BBOLT: &str = "the state is kept in RocksDB, not in bbolt";
const NO_V2: &str = "there is no v2 API and no v2 proxy";
const NO_TRACING: &str = "spans are not exported; the log and the metrics tell how requests went";
const NO_DISCOVERY: &str = "name the members with --initial-cluster";
const NO_ROTATION: &str = "let whoever starts the process rotate its log";
const NO_PRUNING: &str = "old log segments and checkpoints are dropped when nothing needs them";
const KEEPALIVE: &str = "idle connections are probed in the kernel's and HTTP/2's own time";
const ALWAYS_CHECKED: &str = "every record and every value carries a checksum that is checked when it is read";

const SWITCH: Shape = Shape::Switch;
const VALUE: Shape = Shape::Value;
const DURATION: Shape = Shape::Duration;

/// etcd 3.4 to 3.6 have these.
pub const STRANGERS: &[Stranger] = &[
    passed(VALUE, "max-snapshots", NO_PRUNING),
    passed(VALUE, "max-wals", NO_PRUNING),
    passed(VALUE, "backend-bbolt-freelist-type", NO_BBOLT),
    passed(DURATION, "backend-batch-interval", NO_BBOLT),
    passed(VALUE, "backend-batch-limit", NO_BBOLT),
    passed(DURATION, "grpc-keepalive-min-time", KEEPALIVE),
    passed(DURATION, "grpc-keepalive-interval", KEEPALIVE),
    passed(DURATION, "grpc-keepalive-timeout", KEEPALIVE),
    refused(SWITCH, "socket-reuse-port", "give every process a port of its own"),
    passed(SWITCH, "socket-reuse-address", "the runtime listens with SO_REUSEADDR anyway"),
    refused(VALUE, "discovery", NO_DISCOVERY),
    passed(VALUE, "discovery-fallback", "there is no discovery"),
    refused(VALUE, "discovery-proxy", NO_DISCOVERY),
    refused(VALUE, "discovery-srv", NO_DISCOVERY),
    refused(VALUE, "discovery-srv-name", NO_DISCOVERY),
    refused(VALUE, "discovery-endpoints", NO_DISCOVERY),
    refused(VALUE, "discovery-token", NO_DISCOVERY),
    passed(VALUE, "v2-deprecation", NO_V2),
    passed(SWITCH, "enable-pprof", "there is no Go runtime to profile"),
    passed(VALUE, "metrics", "histograms are always shown"),
    passed(SWITCH, "enable-log-rotation", NO_ROTATION),
    passed(VALUE, "log-rotation-config-json", NO_ROTATION),
    passed(SWITCH, "debug", "say --log-level=debug"),
    passed(VALUE, "log-package-levels", "say --log-level=info,holdfast_node::raft=debug"),
    passed(SWITCH, "enable-distributed-tracing", NO_TRACING),
    passed(SWITCH, "experimental-enable-distributed-tracing", NO_TRACING),
    only("proxy", "off", NO_V2),
    passed(VALUE, "proxy-failure-wait", NO_V2),
    passed(VALUE, "proxy-refresh-interval", NO_V2),
    passed(VALUE, "proxy-dial-timeout", NO_V2),
    passed(VALUE, "proxy-write-timeout", NO_V2),
    passed(VALUE, "proxy-read-timeout", NO_V2),
    refused(VALUE, "experimental-enable-v2v3", NO_V2),
    passed(SWITCH, "experimental-initial-corrupt-check", ALWAYS_CHECKED),
    passed(DURATION, "experimental-corrupt-check-time", ALWAYS_CHECKED),
    passed(DURATION, "corrupt-check-time", ALWAYS_CHECKED),
    passed(SWITCH, "experimental-compact-hash-check-enabled", ALWAYS_CHECKED),
    passed(DURATION, "experimental-compact-hash-check-time", ALWAYS_CHECKED),
    passed(DURATION, "compact-hash-check-time", ALWAYS_CHECKED),
    passed(SWITCH, "experimental-enable-lease-checkpoint", "a new leader gives every lease its full TTL"),
    passed(SWITCH, "experimental-enable-lease-checkpoint-persist", "a new leader gives every lease its full TTL"),
    passed(VALUE, "compaction-batch-limit", "compaction goes in steps of 1000 rows and rests in between"),
    passed(VALUE, "experimental-compaction-batch-limit", "compaction goes in steps of 1000 rows and rests in between"),
    passed(DURATION, "compaction-sleep-interval", "compaction goes in steps of 1000 rows and rests in between"),
    passed(DURATION, "warning-apply-duration", "durations are in the metrics"),
    passed(DURATION, "warning-unary-request-duration", "durations are in the metrics"),
    passed(DURATION, "experimental-warning-apply-duration", "durations are in the metrics"),
    passed(DURATION, "experimental-warning-unary-request-duration", "durations are in the metrics"),
    passed(SWITCH, "experimental-txn-mode-write-with-shared-buffer", NO_BBOLT),
    passed(VALUE, "experimental-bootstrap-defrag-threshold-megabytes", NO_BBOLT),
    passed(VALUE, "bootstrap-defrag-threshold-megabytes", NO_BBOLT),
    passed(SWITCH, "experimental-memory-mlock", "memory is not locked; turn swap off"),
    passed(SWITCH, "memory-mlock", "memory is not locked; turn swap off"),
    passed(SWITCH, "experimental-stop-grpc-service-on-defrag", "reclaiming space stops nothing"),
    passed(SWITCH, "stop-grpc-service-on-defrag", "reclaiming space stops nothing"),
    passed(VALUE, "feature-gates", "there are no gates: what there is, is on"),
    passed(VALUE, "downgrade-check-time", "there is no way down: the data has one format"),
    refused(
        SWITCH,
        "force-new-cluster",
        "bring a quorum of the members back, or save a snapshot from one that is left and make a new cluster of it \
         with holdfast snapshot restore",
    ),
    passed(SWITCH, "unsafe-no-fsync", "every write is synced: there is no unsafe mode"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_ours_or_a_stranger() {
        for stranger in STRANGERS {
            let name = stranger.name;
            assert!(setting(name).is_none(), "{name} is a setting now: drop it from the strangers");
            assert_eq!(STRANGERS.iter().filter(|other| other.name == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn an_experiment_that_grew_up_is_the_setting() {
        let grown_up = meaning(Manner::Etcd, "experimental-watch-progress-notify-interval");
        assert!(matches!(grown_up, Meaning::Setting(setting) if setting.name == "watch-progress-notify-interval"));
        assert!(matches!(meaning(Manner::Etcd, "experimental-never-heard-of"), Meaning::Experiment));
        assert!(matches!(meaning(Manner::Holdfast, "experimental-never-heard-of"), Meaning::Nothing));
        assert!(matches!(meaning(Manner::Etcd, "never-heard-of"), Meaning::Nothing));
    }
}
