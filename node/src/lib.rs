//! The Holdfast server: a replicated key-value store with automatic failover, which speaks the etcd v3 API.
//!
//! ```text
//!   8  admin        health, metrics
//!      gateway      the same API as JSON over HTTP
//!   7  api          one gRPC service, one file; one gate; one map of errors
//!   6  ops backup   propose, read, renew, change members; the state as a file of etcd's
//!   5  raft         openraft over our log, our state and our wire
//!   4  state watch  commands become effects; effects become events
//!   3  mvcc lease auth   keys with a history; leases; users, roles, tokens
//!   2  storage wal  the state's engine; the Raft log
//!   1  types codec env rt metrics tls   words, bytes, disk, runtime, counters, certificates
//! ```
//!
//! A module uses the layers below it. [`node`] is the composition root, and builds them bottom-up. How one put travels
//! through them is told in `docs/ARCHITECTURE.md`.

pub mod admin;
pub mod api;
pub mod auth;
pub mod backup;
pub mod codec;
pub mod config;
pub mod env;
pub mod gateway;
pub mod io;
pub mod lease;
pub mod metrics;
pub mod mvcc;
pub mod node;
pub mod ops;
pub mod raft;
pub mod rt;
pub mod settings;
pub mod state;
pub mod storage;
pub mod tls;
pub mod types;
pub mod wal;
pub mod watch;
