//! JSON over HTTP, asked of a running node as any HTTP client would ask.
//!
//! ```text
//! script.rs   tests/scripts/gateway/*.txt: requests, each with a real etcd's answer
//! replay.rs   a transcript of a real etcd, recorded elsewhere: HOLDFAST_GATEWAY_TRANSCRIPT=<file>
//! streams.rs  what a script cannot say: slow readers, clients that hang up, a node that stops
//! health.rs   gRPC's health protocol and reflection on the same port
//! range_stream.rs  KV.RangeStream, which JSON does not have
//! ```
//!
//! The scripts' answers are etcd's own. `HOLDFAST_GATEWAY_ETCD=<binary>` asks that etcd instead of a node, and must
//! find the same; `HOLDFAST_GATEWAY_RECORD=1` with it writes its answers into the scripts.

#![cfg(not(madsim))]
// The bans are for the node; these are its clients.
#![allow(clippy::disallowed_methods)]

mod compare;
mod health;
mod range_stream;
mod replay;
mod script;
mod server;
mod streams;
mod web;
