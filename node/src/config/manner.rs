//! Whose manner a node is spoken to in: its own, or etcd's.
//!
//! A program that is called `etcd` was put in the place of one. It takes etcd's names, and what is not said means what
//! it means to etcd, where that differs from what we would choose.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Holdfast,
    Etcd,
}

impl Manner {
    /// The data directory of a member with this name, if none is given.
    pub fn data_dir(self, name: &str) -> String {
        match self {
            Manner::Holdfast => format!("{name}.holdfast"),
            Manner::Etcd => format!("{name}.etcd"),
        }
    }

    pub fn cluster_token(self) -> &'static str {
        match self {
            Manner::Holdfast => "holdfast-cluster",
            Manner::Etcd => "etcd-cluster",
        }
    }

    /// How much history is kept if nothing is said about it. etcd keeps all.
    pub fn keep_history(self) -> Duration {
        match self {
            Manner::Holdfast => Duration::from_secs(3600),
            Manner::Etcd => Duration::ZERO,
        }
    }

    /// The election timeout if none is given. Both are faster than etcd's 1000 ms; but a script that makes heartbeats
    /// slower, and relies on the second that etcd has, gets what its heartbeats need.
    pub fn election_ms(self, ours_ms: u64, heartbeat_ms: u64) -> u64 {
        match self {
            Manner::Holdfast => ours_ms,
            Manner::Etcd if heartbeat_ms.saturating_mul(4) > ours_ms => heartbeat_ms.saturating_mul(5),
            Manner::Etcd => ours_ms,
        }
    }
}
