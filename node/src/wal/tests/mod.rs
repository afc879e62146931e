//! Stories, crashes and exhaustive checks over the whole log.

mod behaviour;
mod crash;
mod exhaustive;
mod golden;
mod scene;
mod stale;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Identity, Log, LogOptions, OpenError, Opened, RawEntry};
use crate::env::FaultyDisk;
use crate::types::{ClusterId, LogId, MemberId};

const DIR: &str = "/log";
const IDENTITY: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(0x3e) };

/// Segments of eight entries and 640 bytes.
fn small() -> LogOptions {
    LogOptions { slots: 8, data_bytes: 640, cache_bytes_max: 256, pending_bytes_max: 1 << 20 }
}

fn open(disk: &FaultyDisk) -> Result<(Log, Opened), OpenError> {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), small(), IDENTITY)
}

fn entry(term: u64, index: u64, payload: impl Into<Bytes>) -> RawEntry {
    RawEntry { log_id: LogId { term, index }, kind: 1, payload: payload.into() }
}
