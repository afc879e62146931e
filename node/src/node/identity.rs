//! Who a node is: decided once, written down, checked at every start.
//!
//! `IDENTITY` in the data directory:
//!
//! ```text
//! offset  size  what
//!      0     8  "HFIDENT1"; the last character is the version of the format
//!      8     8  cluster id, u64 LE
//!     16     8  member id, u64 LE
//!     24     4  length of the name in bytes, u32 LE
//!     28     n  name, UTF-8
//!   28+n     4  crc32 (IEEE) of everything before
//! ```
//!
//! It is written before the node votes for the first time, and never changed. A node that lost it may have voted under
//! it, so it does not start as a voter again: it is removed from the cluster and added as a new member.

use std::io;
use std::path::{Path, PathBuf};

use crate::env::{Disk, OpenMode};
use crate::types::{ClusterId, MemberId};

const FILE: &str = "IDENTITY";
/// An empty file beside it: there is, or was, a Raft log.
const LOG_NOTE: &str = "HAS-LOG";
const MAGIC: &[u8; 8] = b"HFIDENT1";
/// Where the magic says its version.
const VERSION_AT: usize = MAGIC.len() - 1;
const HEAD_BYTES: usize = 28;
const CRC_BYTES: usize = 4;

/// What `IDENTITY` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub name: String,
}

/// Why a node does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{path} is damaged: this node cannot know who it voted as and does not start; \
         remove the member from the cluster, empty its data directory and add it again"
    )]
    Damaged { path: PathBuf },
    #[error(
        "{path} was written by a newer version of Holdfast (format {version}): start that version here, or give this \
         node another data directory"
    )]
    Newer { path: PathBuf, version: char },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What the bytes of `IDENTITY` are.
#[derive(Debug, PartialEq, Eq)]
enum Decoded {
    Identity(Identity),
    Damaged,
    /// A version of the format that this one does not know.
    Newer(char),
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.name.len() + CRC_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.cluster.0.to_le_bytes());
        bytes.extend_from_slice(&self.member.0.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Decoded {
        if let Some(identity) = Self::decode_known(bytes) {
            return Decoded::Identity(identity);
        }
        let mut as_known = bytes.to_vec();
        match as_known.get_mut(VERSION_AT) {
            Some(version) if bytes.starts_with(&MAGIC[..VERSION_AT]) && version.is_ascii_graphic() => {
                let said = char::from(std::mem::replace(version, MAGIC[VERSION_AT]));
                // If only the version is in the way, then the version is what rotted.
                let is_newer = said > char::from(MAGIC[VERSION_AT]) && Self::decode_known(&as_known).is_none();
                if is_newer { Decoded::Newer(said) } else { Decoded::Damaged }
            }
            _ => Decoded::Damaged,
        }
    }

    fn decode_known(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) || !body.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            cluster: ClusterId(number(8)?),
            member: MemberId(number(16)?),
            name: String::from_utf8(body.get(HEAD_BYTES..)?.to_vec()).ok()?,
        })
    }

    /// Whether it was decided already who this node is.
    pub fn is_there(disk: &dyn Disk, data_dir: &Path) -> io::Result<bool> {
        disk.exists(&data_dir.join(FILE))
    }

    /// Reads who this node is, if that was decided already.
    pub fn load(disk: &dyn Disk, data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(FILE);
        let read = || -> io::Result<Option<Vec<u8>>> {
            if !disk.exists(&path)? {
                return Ok(None);
            }
            let file = disk.open(&path, OpenMode::Read)?;
            let mut bytes = vec![0; usize::try_from(file.len()?.min(64 * 1024)).unwrap_or(0)];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(Some(bytes))
        };
        match read() {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => match Self::decode(&bytes) {
                Decoded::Identity(identity) => Ok(Some(identity)),
                Decoded::Damaged => Err(IdentityError::Damaged { path }),
                Decoded::Newer(version) => Err(IdentityError::Newer { path, version }),
            },
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    /// Notes that this node has a Raft log. From then on an empty log directory means that the log, and with it the
    /// node's vote, is lost: its state may not have been flushed yet, so nothing else would tell.
    pub fn note_log(disk: &dyn Disk, data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(LOG_NOTE);
        let write = || -> io::Result<()> {
            if !disk.exists(&path)? {
                disk.open(&path, OpenMode::CreateNew)?.sync()?;
            }
            disk.sync_dir(data_dir)
        };
        write().map_err(|source| IdentityError::Io { path: path.clone(), source })
    }

    /// Whether this node ever had a Raft log.
    pub fn had_log(disk: &dyn Disk, data_dir: &Path) -> Result<bool, IdentityError> {
        let path = data_dir.join(LOG_NOTE);
        disk.exists(&path).map_err(|source| IdentityError::Io { path: path.clone(), source })
    }

    /// Writes it down, for ever.
    pub fn store(&self, disk: &dyn Disk, data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(FILE);
        let temporary = data_dir.join("IDENTITY.tmp");
        let write = || -> io::Result<()> {
            if disk.exists(&temporary)? {
                disk.remove_file(&temporary)?;
            }
            let file = disk.open(&temporary, OpenMode::CreateNew)?;
            file.write_all_at(&self.encode(), 0)?;
            file.sync()?;
            disk.rename(&temporary, &path)?;
            disk.sync_dir(data_dir)
        };
        write().map_err(|source| IdentityError::Io { path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FaultyDisk;

    fn someone() -> Identity {
        Identity { cluster: ClusterId(7), member: MemberId(9), name: "north".to_owned() }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Identity::decode(&someone().encode()), Decoded::Identity(someone()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let good = someone().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identity::decode(&bad), Decoded::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_not_called_damage() {
        let disk = FaultyDisk::new(1);
        let dir = Path::new("/data");
        disk.create_dir_all(dir).unwrap();
        let file = disk.open(&dir.join(FILE), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"HFIDENT2 and whatever that version says", 0).unwrap();
        let error = Identity::load(&disk, dir).unwrap_err();
        assert!(error.to_string().contains("written by a newer version"), "{error}");
        assert_eq!(Identity::decode(b"HFIDENT0 and more"), Decoded::Damaged);
        assert_eq!(Identity::decode(b"HFIDEN"), Decoded::Damaged);
    }
}
