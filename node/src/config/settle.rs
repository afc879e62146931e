//! From the values that count to a configuration: read, checked, and checked against one another.

use std::path::PathBuf;
use std::time::Duration;

use super::catalogue::{SETTINGS, is_without_effect, setting};
use super::sources::{Given, Sources};
use super::values::{Expected, Switch};
use super::{
    Config, ConfigError, LogConfig, LogFormat, LogOutput, Manner, auth, initial_cluster, tls, urls, values, web,
};
use crate::api::{AUDIT_BYTES_MAX_DEFAULT, AuditSettings};
use crate::auth::{AuthSettings, TokenSettings};
use crate::gateway::Access;
use crate::ops::{AutoCompaction, Learners};
use crate::raft::PEER_MESSAGE_BYTES_MAX;
use crate::raft::Timing;
use crate::settings::{ClusterState, Settings};
use crate::types::Limits;
use crate::wal::LogOptions;

/// An election timeout must leave room for this many heartbeats: one may be lost, and one late.
const HEARTBEATS_PER_ELECTION: u64 = 3;
/// etcd's bound too: beyond it something else is wrong.
const ELECTION_MS_MAX: u64 = 50_000;
/// Beyond this a request starves everybody else's. It must fit between members too, with room for what surrounds it.
const REQUEST_BYTES_MAX: u64 = PEER_MESSAGE_BYTES_MAX as u64 * 3 / 4;
const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// Checks everything. The first thing that is wrong is said.
pub fn settle(sources: &Sources) -> Result<Config, ConfigError> {
    let reader = Reader { sources };
    let name = reader.read("name", "default", member_name)?;
    let addresses = addresses(&reader)?;
    let initial_cluster = match sources.get("initial-cluster") {
        Some(given) => reader.parse("initial-cluster", given, initial_cluster::parse)?,
        None => [(name.clone(), addresses.advertise_peer.clone())].into(),
    };
    let mut remarks = remarks(sources);
    let tls = tls::tls(&reader, &addresses, &initial_cluster, &mut remarks)?;
    initial_cluster::check_own(&initial_cluster, &name, &addresses.advertise_peer).map_err(ConfigError::Conflict)?;
    let data_dir = reader.read("data-dir", &sources.manner().data_dir(&name), path)?;
    let wal_dir = match sources.get("wal-dir") {
        Some(given) => reader.parse("wal-dir", given, path)?,
        None => data_dir.join("wal"),
    };
    let settings = Settings {
        zone: reader.read("zone", "", zone)?,
        data_dir,
        wal_dir,
        listen_client_urls: addresses.listen_client,
        listen_peer_urls: addresses.listen_peer,
        listen_metrics_urls: addresses.listen_metrics,
        advertise_client_urls: addresses.advertise_client,
        advertise_peer_urls: addresses.advertise_peer,
        initial_cluster,
        initial_cluster_token: reader.read("initial-cluster-token", sources.manner().cluster_token(), token)?,
        initial_cluster_state: reader.read("initial-cluster-state", "new", cluster_state)?,
        timing: timing(&reader)?,
        limits: limits(&reader)?,
        log: LogOptions::default(),
        auto_compaction: auto_compaction(&reader)?,
        auth: auth_settings(&reader)?,
        audit: audit_settings(&reader)?,
        access: Access {
            origins: reader.read("cors", "*", web::origins)?,
            hosts: reader.read("host-whitelist", "*", web::hosts)?,
        },
        learners: reader.read("auto-promote-learners", "false", learners)?,
        watch_progress_interval: reader.duration("watch-progress-notify-interval", WATCH_PROGRESS_INTERVAL)?,
        tls,
        name,
    };
    for (name, urls) in [
        ("advertise-client-urls", &settings.advertise_client_urls),
        ("initial-advertise-peer-urls", &settings.advertise_peer_urls),
    ] {
        if let Some(url) = urls::unreachable(urls) {
            remarks.push(format!("--{name} has {url}, which nobody can reach: give a host and a port that others can"));
        }
    }
    for name in ["strict-reconfig-check", "pre-vote"] {
        remarks.extend(always_on(&reader, name)?);
    }
    Ok(Config { settings, log: log(&reader)?, remarks })
}

/// Reads settings and names them where they are wrong.
pub(super) struct Reader<'s> {
    pub(super) sources: &'s Sources,
}

impl Reader<'_> {
    pub(super) fn read<T>(
        &self,
        name: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Result<T, ConfigError> {
        match self.sources.get(name) {
            Some(given) => self.parse(name, given, parse),
            None => parse(default).map_err(|expected| ConfigError::Invalid {
                setting: format!("--{name} (by default)"),
                from: None,
                given: default.to_owned(),
                expected: expected.0,
            }),
        }
    }

    pub(super) fn parse<T>(
        &self,
        name: &str,
        given: &Given,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Result<T, ConfigError> {
        parse(&given.text).map_err(|expected| ConfigError::Invalid {
            setting: given.describe(name),
            from: Some(given.source.clone()),
            given: given.text.clone(),
            expected: expected.0,
        })
    }

    pub(super) fn number(&self, name: &str, default: u64, least: u64, most: u64) -> Result<u64, ConfigError> {
        self.read(name, &default.to_string(), |text| values::number(text, least, most))
    }

    fn size(&self, name: &str, default: usize, least: u64, most: u64) -> Result<usize, ConfigError> {
        let number = self.number(name, default as u64, least, most)?;
        Ok(usize::try_from(number).expect("bounded far below the machine's word"))
    }

    /// Never zero: nothing may happen without end.
    fn duration(&self, name: &str, default: Duration) -> Result<Duration, ConfigError> {
        match self.sources.get(name) {
            None => Ok(default),
            Some(given) => self.parse(name, given, |text| match values::duration(text)? {
                Duration::ZERO => values::expected("a length of time above 0, like 10s"),
                duration => Ok(duration),
            }),
        }
    }
}

pub(super) struct Addresses {
    pub(super) listen_client: Vec<String>,
    pub(super) listen_peer: Vec<String>,
    pub(super) listen_metrics: Vec<String>,
    advertise_client: Vec<String>,
    advertise_peer: Vec<String>,
}

fn addresses(reader: &Reader<'_>) -> Result<Addresses, ConfigError> {
    let mut listen_client = reader.read("listen-client-urls", "http://localhost:2379", urls::listen)?;
    let advertise_client = advertised(reader, "advertise-client-urls", "listen-client-urls", &listen_client)?;
    // etcd serves HTTP alone there; here every client port has both.
    if let Some(given) = reader.sources.get("listen-client-http-urls") {
        listen_client.extend(reader.parse("listen-client-http-urls", given, urls::listen)?);
    }
    let listen_peer = reader.read("listen-peer-urls", "http://localhost:2380", urls::listen)?;
    let listen_metrics = match reader.sources.get("listen-metrics-urls") {
        Some(given) => reader.parse("listen-metrics-urls", given, urls::listen)?,
        None => Vec::new(),
    };
    let all: Vec<&String> = listen_client.iter().chain(&listen_peer).chain(&listen_metrics).collect();
    if let Some((_, twice)) = all.iter().enumerate().find(|(i, url)| all[..*i].contains(url)) {
        return Err(ConfigError::Conflict(format!(
            "{twice} is to serve two purposes: give clients, peers and metrics ports of their own"
        )));
    }
    let advertise_peer = advertised(reader, "initial-advertise-peer-urls", "listen-peer-urls", &listen_peer)?;
    Ok(Addresses { listen_client, listen_peer, listen_metrics, advertise_client, advertise_peer })
}

/// What was given; else what we listen on, if that means anything to others.
fn advertised(
    reader: &Reader<'_>,
    name: &str,
    listen_name: &str,
    listen: &[String],
) -> Result<Vec<String>, ConfigError> {
    match reader.sources.get(name) {
        Some(given) if reader.sources.manner() == Manner::Etcd => reader.parse(name, given, urls::advertise_any),
        Some(given) => reader.parse(name, given, urls::advertise),
        None if urls::can_be_advertised(listen) => Ok(listen.to_vec()),
        // etcd then advertises its default, which serves a cluster of one.
        None if name == "initial-advertise-peer-urls"
            && reader.sources.manner() == Manner::Etcd
            && reader.sources.get("initial-cluster").is_none() =>
        {
            Ok(vec!["http://localhost:2380".to_owned()])
        }
        None => Err(ConfigError::Conflict(format!(
            "--{listen_name} is {}, which others cannot use: say with --{name} where they reach this member",
            listen.join(",")
        ))),
    }
}

fn timing(reader: &Reader<'_>) -> Result<Timing, ConfigError> {
    let default = Timing::default();
    let heartbeat_ms = reader.number("heartbeat-interval", default.heartbeat_ms, 1, ELECTION_MS_MAX)?;
    let election_ms = reader.sources.manner().election_ms(default.election_ms, heartbeat_ms);
    let election_ms = reader.number("election-timeout", election_ms, 1, ELECTION_MS_MAX)?;
    if election_ms < heartbeat_ms * HEARTBEATS_PER_ELECTION {
        return Err(ConfigError::Conflict(format!(
            "--election-timeout is {election_ms} ms and --heartbeat-interval {heartbeat_ms} ms: expected an election \
             timeout of at least {HEARTBEATS_PER_ELECTION} heartbeats, or one late heartbeat deposes a healthy leader"
        )));
    }
    Ok(Timing {
        heartbeat_ms,
        election_ms,
        snapshot_entries: reader.number("snapshot-count", default.snapshot_entries, 1, u64::MAX)?,
        catch_up_entries: reader.number("snapshot-catchup-entries", default.catch_up_entries, 1, u64::MAX)?,
    })
}

fn limits(reader: &Reader<'_>) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let quota = reader.number("quota-backend-bytes", 0, 0, i64::MAX as u64)?;
    let streams_max = match reader.sources.get("max-concurrent-streams") {
        Some(given) => Some(reader.parse("max-concurrent-streams", given, streams)?),
        None => default.streams_max,
    };
    let deadline = reader.duration("request-timeout", Duration::from_millis(default.request_deadline_ms))?;
    Ok(Limits {
        request_bytes_max: reader.size("max-request-bytes", default.request_bytes_max, 1, REQUEST_BYTES_MAX)?,
        txn_ops_max: reader.size("max-txn-ops", default.txn_ops_max, 1, 1_000_000)?,
        // As in etcd, 0 asks for the default.
        quota_bytes_max: if quota == 0 { default.quota_bytes_max } else { quota },
        learners_max: reader.size("max-learners", default.learners_max, 0, 1000)?,
        request_deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).max(1),
        streams_max,
        ..default
    })
}

/// 4294967295, which is etcd's default, is as good as no bound.
fn streams(text: &str) -> Result<u32, Expected> {
    let number = values::number(text, 1, u64::from(u32::MAX))?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

fn auth_settings(reader: &Reader<'_>) -> Result<AuthSettings, ConfigError> {
    let default = AuthSettings::default();
    let ttl_s = reader.number("auth-token-ttl", TokenSettings::SIMPLE_TTL.as_secs(), 1, 31_536_000)?;
    let hash_cost = reader.number("bcrypt-cost", u64::from(default.hash_cost), 4, 31)?;
    Ok(AuthSettings {
        tokens: reader.read("auth-token", "simple", |text| auth::tokens(text, Duration::from_secs(ttl_s)))?,
        hash_cost: u32::try_from(hash_cost).unwrap_or(default.hash_cost),
    })
}

fn audit_settings(reader: &Reader<'_>) -> Result<AuditSettings, ConfigError> {
    // Less than this would be renamed all the time.
    let bytes_max = reader.number("audit-log-max-bytes", AUDIT_BYTES_MAX_DEFAULT, 64 * 1024, i64::MAX as u64)?;
    reader.read("audit-log-path", "", |text| auth::audit(text, bytes_max))
}

fn auto_compaction(reader: &Reader<'_>) -> Result<AutoCompaction, ConfigError> {
    let is_periodic = reader.read("auto-compaction-mode", "periodic", |text| match text {
        "periodic" => Ok(true),
        "revision" => Ok(false),
        _ => values::expected("periodic or revision"),
    })?;
    let retention = reader.sources.get("auto-compaction-retention");
    match (is_periodic, retention) {
        (true, None) => Ok(periodic(reader.sources.manner().keep_history())),
        (true, Some(given)) => reader.parse("auto-compaction-retention", given, |text| {
            // A bare number means hours, as in etcd.
            let keep = match text.trim().parse::<u32>() {
                Ok(hours) => Duration::from_secs(3600) * hours,
                Err(_) => values::duration(text)?,
            };
            Ok(periodic(keep))
        }),
        (false, None) => Err(ConfigError::Conflict(
            "--auto-compaction-mode is revision: say with --auto-compaction-retention how many revisions are kept"
                .to_owned(),
        )),
        (false, Some(given)) => reader.parse("auto-compaction-retention", given, |text| {
            let keep = values::number(text, 0, i64::MAX as u64)?;
            let keep = i64::try_from(keep).expect("bounded by i64::MAX");
            Ok(if keep == 0 { AutoCompaction::Off } else { AutoCompaction::Revisions { keep } })
        }),
    }
}

fn periodic(keep: Duration) -> AutoCompaction {
    match u64::try_from(keep.as_millis()).unwrap_or(u64::MAX) {
        0 => AutoCompaction::Off,
        keep_ms => AutoCompaction::Periodic { keep_ms },
    }
}

fn log(reader: &Reader<'_>) -> Result<LogConfig, ConfigError> {
    Ok(LogConfig {
        filter: reader.read("log-level", "info", log_filter)?,
        format: reader.read("log-format", "json", |text| match text {
            "json" => Ok(LogFormat::Json),
            "console" => Ok(LogFormat::Console),
            _ => values::expected("json or console"),
        })?,
        outputs: reader.read("log-outputs", "default", log_outputs)?,
    })
}

/// etcd's words: names of streams, and files.
fn log_outputs(text: &str) -> Result<Vec<LogOutput>, Expected> {
    const WHAT: &str = "stderr, stdout or files with a path, separated by commas";
    let mut outputs = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let output = match part {
            // What a service writes to its standard error is in the journal.
            "default" | "stderr" | "systemd/journal" => LogOutput::Stderr,
            "stdout" => LogOutput::Stdout,
            file if file.contains('/') => LogOutput::File(path(file)?),
            _ => return values::expected(WHAT),
        };
        if !outputs.contains(&output) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() { values::expected(WHAT) } else { Ok(outputs) }
}

/// One level for all; what the libraries say at it is more than anybody wants to know of a node.
fn log_filter(text: &str) -> Result<String, Expected> {
    let filter = match text {
        "error" | "warn" | "trace" => text,
        // openraft tells the same story at length; what matters of it is said by raft/.
        "info" => "info,openraft=error,openraft::raft::api=off",
        "debug" => "debug,openraft=info,h2=info,hyper=info,hyper_util=info,tower=info",
        // etcd's words for levels that there are none of here.
        "dpanic" | "panic" | "fatal" => "error",
        _ if text.contains('=') && tracing_subscriber::EnvFilter::try_new(text).is_ok() => text,
        _ => {
            return values::expected(
                "error, warn, info, debug or trace, or a list like info,holdfast_node::raft=debug",
            );
        }
    };
    Ok(filter.to_owned())
}

fn remarks(sources: &Sources) -> Vec<String> {
    let mut remarks = sources.remarks().to_vec();
    for setting in SETTINGS.iter().filter(|setting| is_without_effect(setting)) {
        if let Some(given) = sources.get(setting.name) {
            remarks.push(format!("{} has no effect: {}", given.describe(setting.name), setting.help));
        }
    }
    remarks
}

fn member_name(text: &str) -> Result<String, Expected> {
    let is_name =
        !text.is_empty() && text.len() <= 255 && !text.contains([',', '=', '/']) && !text.contains(char::is_control);
    if is_name { Ok(text.to_owned()) } else { values::expected("a name of 1 to 255 bytes without ',', '=' and '/'") }
}

fn zone(text: &str) -> Result<String, Expected> {
    if text.len() <= 255 && !text.contains(char::is_control) {
        Ok(text.to_owned())
    } else {
        values::expected("a name of up to 255 bytes")
    }
}

fn token(text: &str) -> Result<String, Expected> {
    if text.is_empty() { values::expected("a word that no other cluster nearby uses") } else { Ok(text.to_owned()) }
}

fn path(text: &str) -> Result<PathBuf, Expected> {
    std::path::absolute(text).or_else(|_| values::expected("a directory"))
}

fn learners(text: &str) -> Result<Learners, Expected> {
    Ok(match values::switch(text)? {
        Switch::On => Learners::BecomeVoters,
        Switch::Off => Learners::Stay,
    })
}

fn cluster_state(text: &str) -> Result<ClusterState, Expected> {
    match text {
        "new" => Ok(ClusterState::New),
        "existing" => Ok(ClusterState::Existing),
        _ => values::expected("new or existing"),
    }
}

/// For what cannot be turned off: to accept `false` and go on would be a lie. Start scripts that were written for etcd
/// are run all the same, and told.
fn always_on(reader: &Reader<'_>, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(given) = reader.sources.get(name) else { return Ok(None) };
    let switch = reader.parse(name, given, values::switch)?;
    match (switch, reader.sources.manner()) {
        (Switch::On, _) => Ok(None),
        (Switch::Off, Manner::Etcd) if setting(name).is_some_and(is_without_effect) => Ok(None),
        (Switch::Off, Manner::Etcd) => Ok(Some(format!("{} has no effect: this is always on", given.describe(name)))),
        (Switch::Off, Manner::Holdfast) => {
            reader.parse(name, given, |_| values::expected("true: this is always on here")).map(|()| None)
        }
    }
}
