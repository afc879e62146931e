//! What a node needs to know to start, after the command line, the environment and the file were read and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::AuditSettings;
use crate::auth::AuthSettings;
use crate::gateway::Access;
use crate::ops::{AutoCompaction, Learners};
use crate::raft::Timing;
use crate::types::{Limits, TlsSettings};
use crate::wal::LogOptions;

/// Whether a node founds a cluster or joins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    New,
    Existing,
}

/// Everything about one node that an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// Availability zone; empty if none was given.
    pub zone: String,
    pub data_dir: PathBuf,
    /// Where the Raft log goes; under `data_dir` if none was given.
    pub wal_dir: PathBuf,
    /// URLs to listen on. The host is an IP address or `localhost`.
    pub listen_client_urls: Vec<String>,
    pub listen_peer_urls: Vec<String>,
    /// Where health and metrics are served besides the client port; often none.
    pub listen_metrics_urls: Vec<String>,
    /// URLs at which others reach this node.
    pub advertise_client_urls: Vec<String>,
    pub advertise_peer_urls: Vec<String>,
    /// Names and peer URLs of the first members, this one included.
    pub initial_cluster: BTreeMap<String, Vec<String>>,
    pub initial_cluster_token: String,
    pub initial_cluster_state: ClusterState,
    pub timing: Timing,
    pub limits: Limits,
    pub log: LogOptions,
    pub auto_compaction: AutoCompaction,
    pub learners: Learners,
    pub watch_progress_interval: Duration,
    /// Which web pages may ask over HTTP, and for which hosts.
    pub access: Access,
    pub tls: TlsSettings,
    pub auth: AuthSettings,
    pub audit: AuditSettings,
}
