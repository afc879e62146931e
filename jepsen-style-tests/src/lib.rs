//! Proof by trying to break it: worlds in which a cluster runs, and what is done to it there.
//!
//! ```text
//!   world/sim       the node's own `Node::start` in one process: simulated links, clocks and disks, from one seed
//!   bin/bench       a load generator that drives our cluster and an etcd cluster in turn
//!   bin/differential   the same random requests to an etcd and to Holdfast, every answer compared
//!   history         what clients did and were told · checker  what must be true of it, one property a file
//!   bin/jepsen      `jepsen check FILE...`: judges anyone's history
//!   tests/process   real processes, real files, real etcdctl
//! ```
//!
//! The simulator exists only with `--cfg madsim`; see `docs/TESTING.md`.

#[cfg(not(madsim))]
pub mod bench;
pub mod checker;
#[cfg(not(madsim))]
pub mod differential;
pub mod history;
pub mod world;
