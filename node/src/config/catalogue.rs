//! Every setting there is, by etcd's name where it has one.

/// One setting: a flag, two environment names and a key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// In kebab case: the flag without its dashes, and the file's key.
    pub name: &'static str,
    pub shape: Shape,
    /// What stands for the value in the help.
    pub placeholder: &'static str,
    pub group: &'static str,
    pub help: &'static str,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Needs a value.
    Value,
    /// `--flag` alone means true.
    Switch,
    /// A length of time: `90s`, `1h30m`. A bare number in a file is in nanoseconds, as in etcd's files.
    Duration,
}

const MEMBER: &str = "Member";
const ADDRESSES: &str = "Addresses";
const CLUSTER: &str = "Cluster";
const TIMING: &str = "Timing";
const LIMITS: &str = "Limits";
const HISTORY: &str = "History and watches";
const CLIENT_TLS: &str = "TLS of the client port (URLs with https)";
const PEER_TLS: &str = "TLS between members (URLs with https)";
const TLS: &str = "TLS of both";
const AUTH: &str = "Authentication and audit";
const LOGGING: &str = "Logging";
const COMPATIBILITY: &str = "Accepted so that etcd's start scripts work, without effect";

const fn value(group: &'static str, name: &'static str, placeholder: &'static str, help: &'static str) -> Setting {
    Setting { name, shape: Shape::Value, placeholder, group, help }
}

const fn switch(group: &'static str, name: &'static str, help: &'static str) -> Setting {
    Setting { name, shape: Shape::Switch, placeholder: "true|false", group, help }
}

const fn duration(group: &'static str, name: &'static str, help: &'static str) -> Setting {
    Setting { name, shape: Shape::Duration, placeholder: "DURATION", group, help }
}

/// In the order of the help.
pub const SETTINGS: &[Setting] = &[
    value(MEMBER, "name", "NAME", "Name of this member, unique in the cluster [default: default]"),
    value(MEMBER, "zone", "ZONE", "Availability zone this member runs in; decides what losing a zone costs"),
    value(MEMBER, "data-dir", "DIR", "Where everything durable goes [default: <name>.holdfast]"),
    value(MEMBER, "wal-dir", "DIR", "Where the Raft log goes, best a disk of its own [default: wal in the data dir]"),
    value(ADDRESSES, "listen-client-urls", "URLS", "Where clients are served [default: http://localhost:2379]"),
    value(ADDRESSES, "listen-peer-urls", "URLS", "Where other members are served [default: http://localhost:2380]"),
    value(
        ADDRESSES,
        "listen-client-http-urls",
        "URLS",
        "Further URLs where clients are served, as in etcd's scripts that part HTTP from gRPC [default: none]",
    ),
    value(ADDRESSES, "listen-metrics-urls", "URLS", "Where /metrics and the probes are served besides [default: none]"),
    value(
        ADDRESSES,
        "advertise-client-urls",
        "URLS",
        "Where clients reach this member [default: --listen-client-urls]",
    ),
    value(
        ADDRESSES,
        "initial-advertise-peer-urls",
        "URLS",
        "Where other members reach this one [default: --listen-peer-urls]",
    ),
    value(
        ADDRESSES,
        "cors",
        "ORIGINS",
        "Web pages that may ask over HTTP, like https://a.example; * is all [default: *]",
    ),
    value(
        ADDRESSES,
        "host-whitelist",
        "HOSTS",
        "Host names that may be asked for over HTTP without TLS; * is all [default: *]",
    ),
    value(CLUSTER, "initial-cluster", "MEMBERS", "First members: name=url,name=url,... [default: this member alone]"),
    value(CLUSTER, "initial-cluster-token", "TOKEN", "Tells clusters apart [default: holdfast-cluster]"),
    value(CLUSTER, "initial-cluster-state", "new|existing", "Found a cluster, or join one [default: new]"),
    switch(CLUSTER, "strict-reconfig-check", "Refuse member changes that would lose the quorum; always on"),
    value(CLUSTER, "max-learners", "N", "Learners at a time [default: 1]"),
    switch(CLUSTER, "auto-promote-learners", "Make a learner a voter when it is in sync [default: false]"),
    value(TIMING, "heartbeat-interval", "MS", "Milliseconds between heartbeats of the leader [default: 100]"),
    value(
        TIMING,
        "election-timeout",
        "MS",
        "Milliseconds without a leader until a member stands for election, up to 1.5 times that [default: 400]",
    ),
    value(TIMING, "snapshot-count", "N", "Log entries between two checkpoints [default: 10000]"),
    value(
        TIMING,
        "snapshot-catchup-entries",
        "N",
        "Log entries kept behind a checkpoint for members that are behind [default: 5000]",
    ),
    value(LIMITS, "quota-backend-bytes", "BYTES", "Size at which growing writes are refused [default: 2147483648]"),
    value(LIMITS, "max-request-bytes", "BYTES", "Largest request [default: 1572864]"),
    value(LIMITS, "max-txn-ops", "N", "Operations in one transaction [default: 128]"),
    duration(LIMITS, "request-timeout", "How long a request may take whose client does not say [default: 5s]"),
    value(
        LIMITS,
        "max-concurrent-streams",
        "N",
        "Calls under way at once on a client's connection, and over JSON in all [default: any number]",
    ),
    value(
        HISTORY,
        "auto-compaction-mode",
        "periodic|revision",
        "What --auto-compaction-retention counts [default: periodic]",
    ),
    value(
        HISTORY,
        "auto-compaction-retention",
        "KEEP",
        "History that is kept: a duration (a bare number is hours) or a number of revisions; 0 keeps all [default: 1h]",
    ),
    duration(
        HISTORY,
        "watch-progress-notify-interval",
        "How often quiet watchers that asked for it hear how far they are [default: 10m]",
    ),
    value(CLIENT_TLS, "cert-file", "FILE", "Certificate that clients are shown, with its chain, in PEM"),
    value(CLIENT_TLS, "key-file", "FILE", "Its private key"),
    value(CLIENT_TLS, "trusted-ca-file", "FILE", "Authorities that clients' certificates must come from, in PEM"),
    switch(CLIENT_TLS, "client-cert-auth", "Clients need a certificate; its common name says which user they are"),
    value(CLIENT_TLS, "client-crl-file", "FILE", "Clients' certificates that are revoked, as PEM or DER"),
    value(CLIENT_TLS, "client-cert-allowed-hostname", "HOSTS", "Only certificates good for one of these connect"),
    switch(CLIENT_TLS, "auto-tls", "Make a certificate at each start, which nobody can verify; for trials"),
    value(CLIENT_TLS, "client-cert-file", "FILE", "Checked and watched; nothing here connects to the client port"),
    value(CLIENT_TLS, "client-key-file", "FILE", "Its private key"),
    value(PEER_TLS, "peer-cert-file", "FILE", "Certificate that other members are shown, with its chain, in PEM"),
    value(PEER_TLS, "peer-key-file", "FILE", "Its private key"),
    value(
        PEER_TLS,
        "peer-trusted-ca-file",
        "FILE",
        "Authorities that members' certificates must come from [default: those of the machine, for outgoing \
         connections]",
    ),
    switch(PEER_TLS, "peer-client-cert-auth", "Members that connect need a certificate"),
    value(PEER_TLS, "peer-crl-file", "FILE", "Members' certificates that are revoked, as PEM or DER"),
    value(PEER_TLS, "peer-cert-allowed-cn", "NAMES", "Only certificates with one of these common names connect"),
    value(PEER_TLS, "peer-cert-allowed-hostname", "HOSTS", "Only certificates good for one of these connect"),
    switch(PEER_TLS, "peer-auto-tls", "Make a certificate at each start, and verify nobody; for trials"),
    value(
        PEER_TLS,
        "peer-client-cert-file",
        "FILE",
        "Certificate for connections to other members [default: --peer-cert-file]",
    ),
    value(PEER_TLS, "peer-client-key-file", "FILE", "Its private key"),
    value(TLS, "tls-min-version", "TLS1.2|TLS1.3", "Oldest version that is spoken [default: TLS1.2]"),
    value(TLS, "tls-max-version", "TLS1.2|TLS1.3", "Newest version that is spoken [default: TLS1.3]"),
    value(TLS, "cipher-suites", "SUITES", "Suites that are offered, by IANA's names [default: all that are safe]"),
    value(TLS, "self-signed-cert-validity", "YEARS", "How long certificates of --auto-tls last [default: 1]"),
    value(AUTH, "auth-token", "KIND", "simple, or jwt,sign-method=..,pub-key=..,priv-key=..,ttl=.. [default: simple]"),
    value(AUTH, "auth-token-ttl", "SECONDS", "How long a simple token lives after its last use [default: 300]"),
    value(AUTH, "bcrypt-cost", "COST", "What hashing a password costs: each step is twice as much [default: 10]"),
    value(
        AUTH,
        "audit-log-path",
        "FILE",
        "Where acts of administrators and refusals are recorded: a file, or stderr [default: none]",
    ),
    value(
        AUTH,
        "audit-log-max-bytes",
        "BYTES",
        "Size at which the audit log becomes FILE.1 and a new one is begun [default: 67108864]",
    ),
    value(LOGGING, "log-level", "LEVEL", "error, warn, info, debug, trace, or module=level,... [default: info]"),
    value(LOGGING, "log-format", "json|console", "json has the keys of etcd's log lines [default: json]"),
    value(
        LOGGING,
        "log-outputs",
        "OUTPUTS",
        "stderr, stdout, or files with a path; several with commas [default: stderr]",
    ),
    value(COMPATIBILITY, "logger", "zap", "There is one logger"),
    switch(COMPATIBILITY, "pre-vote", "Pre-vote is always on"),
    switch(COMPATIBILITY, "enable-v2", "There is no v2 API"),
    switch(COMPATIBILITY, "initial-election-tick-advance", "A starting member waits one whole election timeout"),
];

/// The setting of this name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Whether the setting is taken without effect.
pub fn is_without_effect(setting: &Setting) -> bool {
    setting.group == COMPATIBILITY
}

/// The known name that is nearest to an unknown one, if one is near at all.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let distances = SETTINGS.iter().map(|setting| (distance(unknown, setting.name), setting.name));
    let (edits, name) = distances.min()?;
    (edits <= unknown.len().div_ceil(3)).then_some(name)
}

/// Levenshtein's: the fewest letters to insert, drop or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_setting() {
        assert_eq!(nearest("election-timout"), Some("election-timeout"));
        assert_eq!(nearest("listen-client-url"), Some("listen-client-urls"));
        assert_eq!(nearest("data_dir"), Some("data-dir"));
        assert_eq!(nearest("discovery-srv"), None);
    }

    #[test]
    fn every_setting_stands_once_and_says_what_it_is() {
        for setting in SETTINGS {
            assert_eq!(SETTINGS.iter().filter(|other| other.name == setting.name).count(), 1, "{}", setting.name);
            assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{}", setting.name);
        }
    }
}
