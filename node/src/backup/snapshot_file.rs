//! A file of `snapshot save`, of Holdfast or of etcd: whether it is whole, and what is in it. `etcd_file.rs` draws the
//! buckets.
//!
//! Behind the database stands its SHA-256, as `snapshot save` writes it: pages are multiples of 512 bytes, so 32 bytes
//! more tell that it is there. A database that was copied out of a data directory has none, and is taken only by those
//! who say that they know.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_proto::{authpb, mvccpb};
use prost::Message;
use sha2::{Digest as _, Sha256};

use super::bolt_reader::{BoltError, BoltFile, Top, Visit};
use super::etcd_file::LeaseRow;
use crate::auth::AuthState;
use crate::env::{Disk, DiskFile, OpenMode};
use crate::mvcc::{EventKind, Rev};
use crate::types::{LeaseId, Revision};

/// What the length of a database is a multiple of, in bytes.
const SECTOR_BYTES: u64 = 512;
const DIGEST_BYTES: usize = 32;
/// Bytes read at a time where all of the file is.
const READ_BYTES: usize = 1024 * 1024;

/// Whether a file must prove that it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestCheck {
    Required,
    /// `--skip-hash-check`.
    Skipped,
}

/// Why a file is not taken for a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{path} has {bytes} bytes, which no snapshot has: it was cut off, or is something else; save or copy it again"
    )]
    Cut { path: PathBuf, bytes: u64 },
    #[error(
        "{path} has no digest behind it, as a file of `snapshot save` does: if it was copied out of a data directory \
         while nothing ran, say --skip-hash-check"
    )]
    NoDigest { path: PathBuf },
    #[error(
        "{path} does not match the digest behind it: it was cut off or changed; save or copy it again, or say \
         --skip-hash-check to take what can be read"
    )]
    WrongDigest { path: PathBuf },
    #[error("{path}: {source}")]
    Bolt { path: PathBuf, source: BoltError },
    #[error("{path} is a database, but not etcd's: it has no bucket {bucket:?}")]
    NotEtcds { path: PathBuf, bucket: &'static str },
    #[error("{path}: the entry {} of bucket {bucket:?} cannot be read", key.escape_ascii())]
    BadEntry { path: PathBuf, bucket: &'static str, key: Vec<u8> },
}

/// A snapshot whose digest was looked at.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    bolt: BoltFile,
    buckets: BTreeMap<Vec<u8>, Top>,
    /// Of the database.
    digest: [u8; DIGEST_BYTES],
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub rev: Rev,
    pub kind: EventKind,
    /// Of a deletion only the key counts.
    pub kv: mvccpb::KeyValue,
}

/// What `etcdutl snapshot status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// CRC-32C of the names, keys and values of all buckets.
    pub hash: u32,
    pub revision: Revision,
    /// Entries of all buckets.
    pub entries: u64,
    /// Of the database, without its digest.
    pub bytes: u64,
}

impl SnapshotFile {
    pub fn open(disk: &dyn Disk, path: &Path, check: DigestCheck) -> Result<Self, SnapshotError> {
        let in_io = |source| SnapshotError::Io { path: path.to_owned(), source };
        let in_bolt = |source| SnapshotError::Bolt { path: path.to_owned(), source };
        let file = disk.open(path, OpenMode::Read).map_err(in_io)?;
        let bytes = file.len().map_err(in_io)?;
        let has_digest = match bytes % SECTOR_BYTES {
            0 => false,
            beyond if beyond == DIGEST_BYTES as u64 => true,
            _ => return Err(SnapshotError::Cut { path: path.to_owned(), bytes }),
        };
        let length = if has_digest { bytes - DIGEST_BYTES as u64 } else { bytes };
        // Before the digest: of what is no database at all that is the better word.
        let bolt = BoltFile::open(file.clone(), length).map_err(in_bolt)?;
        if !has_digest && check == DigestCheck::Required {
            return Err(SnapshotError::NoDigest { path: path.to_owned() });
        }
        let digest = digest_of(file.as_ref(), length).map_err(in_io)?;
        if check == DigestCheck::Required {
            let mut written = [0; DIGEST_BYTES];
            file.read_exact_at(&mut written, length).map_err(in_io)?;
            if written != digest {
                return Err(SnapshotError::WrongDigest { path: path.to_owned() });
            }
        }
        let buckets: BTreeMap<Vec<u8>, Top> = bolt.buckets().map_err(in_bolt)?.into_iter().collect();
        Ok(Self { path: path.to_owned(), bolt, buckets, digest })
    }

    /// Of the database: equal files make equal clusters.
    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        self.digest
    }

    /// All changes, in the order in which they happened.
    pub fn events<E: From<SnapshotError>>(&self, visit: &mut dyn FnMut(Recorded) -> Result<(), E>) -> Result<(), E> {
        if !self.buckets.contains_key(b"key".as_slice()) {
            return Err(SnapshotError::NotEtcds { path: self.path.clone(), bucket: "key" }.into());
        }
        self.entries("key", &mut |key, value| {
            let recorded = recorded(key, value).ok_or_else(|| self.bad("key", key))?;
            visit(recorded)
        })
    }

    /// Each lease with the TTL it was granted, in seconds.
    pub fn leases(&self) -> Result<BTreeMap<LeaseId, i64>, SnapshotError> {
        let mut leases = BTreeMap::new();
        self.entries("lease", &mut |key, value| {
            let row = LeaseRow::decode(value).map_err(|_| self.bad("lease", key))?;
            leases.insert(LeaseId(row.id), row.ttl);
            Ok::<_, SnapshotError>(())
        })?;
        Ok(leases)
    }

    /// Authentication as a whole; nobody can sign tokens yet.
    pub fn auth(&self) -> Result<AuthState, SnapshotError> {
        let mut state = AuthState::default();
        self.entries("auth", &mut |key, value| {
            match key {
                b"authEnabled" => state.is_enabled = value == [1],
                b"authRevision" => {
                    let revision = value.try_into().map_err(|_| self.bad("auth", key))?;
                    state.revision = u64::from_be_bytes(revision).max(1);
                }
                _ => {}
            }
            Ok::<_, SnapshotError>(())
        })?;
        Ok(state)
    }

    pub fn users(&self) -> Result<Vec<authpb::User>, SnapshotError> {
        self.decoded("authUsers")
    }

    pub fn roles(&self) -> Result<Vec<authpb::Role>, SnapshotError> {
        self.decoded("authRoles")
    }

    /// The last compaction, whether or not the disk had followed it.
    pub fn compacted(&self) -> Result<Option<Revision>, SnapshotError> {
        let mut compacted = None;
        self.entries("meta", &mut |key, value| {
            if key == b"scheduledCompactRev" || key == b"finishedCompactRev" {
                let rev = rev_of(value).ok_or_else(|| self.bad("meta", key))?.0;
                compacted = compacted.max(Some(rev.main));
            }
            Ok::<_, SnapshotError>(())
        })?;
        Ok(compacted)
    }

    pub fn summary(&self) -> Result<Summary, SnapshotError> {
        let mut summary = Summary { hash: 0, revision: Revision(0), entries: 0, bytes: self.bolt.bytes() };
        let mut crc = Crc32c::new();
        for (name, top) in &self.buckets {
            crc.add(name);
            let walked = self.bolt.entries::<BoltError>(top, &mut |key, value| {
                crc.add(key);
                crc.add(value);
                summary.entries += 1;
                if let Some((rev, _)) = rev_of(key).filter(|_| name == b"key") {
                    summary.revision = summary.revision.max(rev.main);
                }
                Ok(())
            });
            walked.map_err(|source| SnapshotError::Bolt { path: self.path.clone(), source })?;
        }
        summary.hash = crc.sum();
        Ok(summary)
    }

    /// Older etcds lack some buckets; one that is not there is empty.
    fn entries<E: From<SnapshotError>>(&self, bucket: &'static str, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let Some(top) = self.buckets.get(bucket.as_bytes()) else { return Ok(()) };
        let mut failed = None;
        let walked = self.bolt.entries::<Stopped>(top, &mut |key, value| {
            visit(key, value).map_err(|error| {
                failed = Some(error);
                Stopped::Visitor
            })
        });
        match (walked, failed) {
            (_, Some(error)) => Err(error),
            (Err(Stopped::Bolt(source)), None) => Err(SnapshotError::Bolt { path: self.path.clone(), source }.into()),
            (Ok(()) | Err(Stopped::Visitor), None) => Ok(()),
        }
    }

    fn decoded<M: Message + Default>(&self, bucket: &'static str) -> Result<Vec<M>, SnapshotError> {
        let mut found = Vec::new();
        self.entries(bucket, &mut |key, value| {
            found.push(M::decode(value).map_err(|_| self.bad(bucket, key))?);
            Ok::<_, SnapshotError>(())
        })?;
        Ok(found)
    }

    fn bad(&self, bucket: &'static str, key: &[u8]) -> SnapshotError {
        SnapshotError::BadEntry { path: self.path.clone(), bucket, key: key.to_vec() }
    }
}

/// Why a walk ended before its end.
enum Stopped {
    Bolt(BoltError),
    Visitor,
}

impl From<BoltError> for Stopped {
    fn from(error: BoltError) -> Self {
        Stopped::Bolt(error)
    }
}

fn digest_of(file: &dyn DiskFile, length: u64) -> io::Result<[u8; DIGEST_BYTES]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    while at < length {
        let next = usize::try_from(length - at).unwrap_or(READ_BYTES).min(READ_BYTES);
        file.read_exact_at(&mut buffer[..next], at)?;
        hasher.update(&buffer[..next]);
        at += next as u64;
    }
    Ok(hasher.finalize().into())
}

/// `main _ sub`, and whether a `t` for a tombstone stands behind it.
fn rev_of(key: &[u8]) -> Option<(Rev, EventKind)> {
    let (main, rest) = key.split_first_chunk::<8>()?;
    let (sub, end) = rest.strip_prefix(b"_")?.split_first_chunk::<8>()?;
    let kind = match end {
        [] => EventKind::Put,
        [b't'] => EventKind::Delete,
        _ => return None,
    };
    let main = i64::try_from(u64::from_be_bytes(*main)).ok()?;
    Some((Rev { main: Revision(main), sub: u64::from_be_bytes(*sub) }, kind))
}

fn recorded(key: &[u8], value: &[u8]) -> Option<Recorded> {
    let (rev, kind) = rev_of(key)?;
    Some(Recorded { rev, kind, kv: mvccpb::KeyValue::decode(value).ok()? })
}

/// CRC-32C (Castagnoli), a byte at a time.
struct Crc32c {
    table: [u32; 256],
    state: u32,
}

impl Crc32c {
    const POLYNOMIAL: u32 = 0x82F6_3B78;

    fn new() -> Self {
        let mut table = [0; 256];
        for (byte, entry) in (0_u32..).zip(table.iter_mut()) {
            *entry = (0..8).fold(byte, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ Self::POLYNOMIAL } else { crc >> 1 });
        }
        Self { table, state: u32::MAX }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = (self.state ^ u32::from(*byte)) & 0xFF;
            self.state = (self.state >> 8) ^ self.table[at as usize];
        }
    }

    fn sum(&self) -> u32 {
        !self.state
    }
}

#[cfg(test)]
#[path = "snapshot_file_tests.rs"]
mod tests;
