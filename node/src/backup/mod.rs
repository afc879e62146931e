//! A copy of the whole state for others, as a file of etcd's: what `snapshot save` gets. etcd's tools say what is in
//! it, and restore it into an etcd; so nobody who comes to Holdfast is locked in.
//!
//! ```text
//!   a frozen view --> etcd_file.rs: which buckets, keys and values  -->  bolt.rs: pages  -->  piece by piece
//! ```
//!   such a file --> bolt_reader.rs: entries --> snapshot_file.rs: events, leases, users --> restore.rs: rows
//!
//! The file is written in one go from its beginning, while its first pages say where everything behind them is. So the
//! view is walked twice: once to plan, and once to write. What a plan keeps in memory is a few bytes for each quarter
//! of a MiB.

mod bolt;
mod bolt_reader;
mod etcd_file;
mod restore;
mod snapshot_file;

pub use bolt_reader::BoltError;
pub use etcd_file::EtcdFile;
pub use restore::{ImportError, Imported, import};
pub use snapshot_file::{DigestCheck, SnapshotError, SnapshotFile, Summary};
