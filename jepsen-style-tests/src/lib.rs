//! Proof by trying to break it: worlds in which a cluster runs, and what is done to it there.
//!
//! ```text
//!   world           where a cluster runs: one trait, two worlds
//!     sim           the node's own `Node::start` in one process: simulated links, clocks and disks, from one seed
//!     process       real processes, real files
//!   nemesis         what is done to it, planned from a seed · workload  what clients do meanwhile
//!   campaign        one run: plan, world, workload; faults, healing, judgement · report  what it leaves behind
//!   bin/bench       a load generator that drives our cluster and an etcd cluster in turn
//!   bin/differential   the same random requests to an etcd and to Holdfast, every answer compared
//!   history         what clients did and were told · checker  what must be true of it, one property a file
//!   failover        `jepsen failover`: how long nobody can write when something happens to the leader, beside etcd
//!   bin/jepsen      `jepsen check FILE...` judges anyone's history, `jepsen run` makes runs over real processes
//!   tests/          one folder a subject: kill, operator, membership, locks, tls, etcdctl ...
//! ```
//!
//! The simulator exists only with `--cfg madsim`; see `docs/TESTING.md`.

#[cfg(not(madsim))]
pub mod bench;
pub mod campaign;
pub mod checker;
#[cfg(not(madsim))]
pub mod differential;
#[cfg(not(madsim))]
pub mod failover;
pub mod history;
pub mod nemesis;
pub mod report;
pub mod workload;
pub mod world;
