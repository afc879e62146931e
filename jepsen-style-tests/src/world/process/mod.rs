//! Real processes on this machine: `holdfast serve`, or a real etcd for comparison, with real files and real signals.
//!
//! ```text
//!   Shape  -> Cluster -> NodeProcess n1   127.a.b.1   <folder>/n1, n1.log     holdfast serve ...  (or etcd ...)
//!                        NodeProcess n2   127.a.b.2   <folder>/n2, n2.log
//!                        NodeProcess n3   127.a.b.3   <folder>/n3, n3.log
//!   Links  -> a proxy in front of every peer and client port, if the shape asks for it: links that can be cut
//!   Load   -> writers, each with keys of its own; a Ledger of what was acknowledged, and of what nobody can know
//! ```
//!
//! - A cluster has loopback addresses of its own. A port on them is never taken by an outgoing connection (those come
//!   from 127.0.0.1), so a node that was killed finds its port free, and tests run beside one another.
//! - Processes are ended by the handle they were started with, when the cluster is dropped, panic or not.
//! - Every wait has a limit and says what it waited for. A cluster that is dropped by a panic shows the last log lines
//!   of each node. `HOLDFAST_KEEP=1` leaves the folder behind.
//!
//! Environment: `HOLDFAST_BIN` (the server), `HOLDFASTCTL_BIN`, `HOLDFAST_ETCD_BIN`, `HOLDFAST_ETCDCTL_BIN`, and
//! `HOLDFAST_JEPSEN_SERVER=etcd`, which runs [`Shape::from_env`] on etcd: a test that fails there too is wrong.

mod address;
mod cluster;
mod disk;
mod ledger;
mod links;
mod load;
mod members;
mod membership;
mod node_disk;
mod node_process;
mod observe;
mod program;
mod rot;
mod run;
mod shape;
mod struck;
mod wait;
mod world;

pub use super::NodeIndex;
pub use cluster::Cluster;
pub use disk::{DiskError, SmallDisk};
pub use ledger::{Findings, KeyStory, Ledger, Write};
pub use links::{End, Links, Passage, Rule};
pub use load::{Disturbance, Load, Outages, Reach};
pub use node_process::{Role, send_signal};
pub use observe::Hash;
pub use program::{Program, find, holdfast_bin, holdfastctl_bin, named_by};
pub use run::{Ran, run};
pub use shape::{Scheme, Server, Shape, Wiring};
pub use wait::{PATIENCE, until};
pub use world::{ProcessWorld, Subject};
