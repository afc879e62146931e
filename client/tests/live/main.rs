//! The client and `holdfastctl` against real servers.
//!
//! The servers are those of the binary that `HOLDFAST_TEST_SERVER` names, else the built Holdfast, else an installed
//! `etcd`; without any, each test says that it was skipped. Every server runs on free loopback ports in a folder of its
//! own and is killed with its test.

mod cluster;
mod ctl;
mod failover;
mod kv;
mod lease;
mod watch;
