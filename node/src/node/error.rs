//! Why a node did not start. Each says which file or flag, what is wrong, and what to do.

use std::path::PathBuf;

use super::bootstrap::BootstrapError;
use super::identity::IdentityError;
use crate::auth::JwtError;
use crate::mvcc::ReadError;
use crate::raft::RaftStopped;
use crate::storage::EngineError;
use crate::tls::TlsError;
use crate::types::LogId;
use crate::wal::{OpenError, WalError};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(
        "{dir} holds the data of etcd (member/snap), which Holdfast cannot read: give it a --data-dir of its own, and \
         copy the keys from the running etcd with `etcdctl make-mirror`, or make a directory out of a snapshot of it \
         with `holdfast snapshot restore`"
    )]
    OfEtcd { dir: PathBuf },
    #[error(
        "{dir} is in use by another process (it holds the file LOCK in it): stop that one first, or give this node \
         another --data-dir and --wal-dir"
    )]
    InUse { dir: PathBuf },
    #[error("{path}: {source}; it is written when a cluster is founded: if this member ran before, replace it")]
    Founding { path: PathBuf, source: std::io::Error },
    #[error("the Raft log in {dir}: {source}")]
    Log { dir: PathBuf, source: OpenError },
    #[error(
        "the Raft log in {dir} is gone, but {data_dir} belongs to a member that ran: its vote is lost, so it does not \
         start; remove the member from the cluster, empty both directories and add it again"
    )]
    LogLost { dir: PathBuf, data_dir: PathBuf },
    #[error(
        "the state in {dir} is at {applied:?}, but the Raft log begins after {purged}: entries between are gone, so \
         this node cannot go on; remove the member from the cluster, empty its data directory and add it again"
    )]
    StateBehindLog { dir: PathBuf, purged: LogId, applied: Option<LogId> },
    #[error(
        "{dir} was restored for the member {name}, but this node was started as {given}: use --name {name}, or the \
         directory that was restored for {given}"
    )]
    RestoredAs { dir: PathBuf, name: String, given: String },
    #[error("the Raft log in {dir} could not be begun behind the restored state: {source}")]
    Restored { dir: PathBuf, source: WalError },
    #[error("the Raft log in {dir} could not be made to begin behind rotten entries that the state covers: {source}")]
    RottenLog { dir: PathBuf, source: WalError },
    #[error("the state in {dir}: {source}")]
    State { dir: PathBuf, source: EngineError },
    #[error("the state in {dir}: {source}")]
    Reading { dir: PathBuf, source: ReadError },
    #[error("--auth-token: {0}")]
    TokenKeys(JwtError),
    #[error("--auth-token: {path}: {source}; name a PEM file that the user who runs this may read")]
    TokenKeyFile { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Raft(#[from] RaftStopped),
    #[error("{url}: cannot listen: {source}; is another process using the port, or is the address not this machine's?")]
    Listen { url: String, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error(
        "{url} asks for TLS, and there is no certificate for it: give --cert-file and --key-file, or for peers \
             --peer-cert-file and --peer-key-file; --auto-tls and --peer-auto-tls are for trials"
    )]
    NoCertificate { url: String },
    #[error("{path}: {source}; check that the directory exists, is writable, and belongs to the user that runs this")]
    Directory { path: PathBuf, source: std::io::Error },
}
