//! What a restored data directory says of the cluster it is for, until its member has started once.
//!
//! `RESTORED` in the data directory, integers little-endian:
//!
//! ```text
//! offset  size  what
//!      0     8  "HFRESTO1"; the last character is the version of the format
//!      8     4  number of texts, u32
//!     12     -  each text: its length in bytes, u32, and so many bytes, UTF-8
//!            4  crc32 (IEEE) of everything before
//! ```
//!
//! The texts: the member's name, the cluster's token, then the name and the peer URL of each member, in pairs. The
//! token is the operator's with the digest of the snapshot behind it, so that ids are those of a cluster that is
//! founded on this very state: members that were restored from different files, or not at all, do not find one another.
//!
//! The state in the directory stands at [`BASE`], where every cluster's founding stands. The log begins behind it, so
//! whoever joins later gets the state, not only what happened since.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::StartError;
use super::identity::Identity;
use crate::env::{Disk, OpenMode};
use crate::settings::{ClusterState, Settings};
use crate::types::LogId;

pub const FILE: &str = "RESTORED";
/// The place in the log of the entry that founds a cluster.
pub const BASE: LogId = LogId { term: 0, index: 0 };

const MAGIC: &[u8; 8] = b"HFRESTO1";
const CRC_BYTES: usize = 4;
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub name: String,
    pub token: String,
    /// Names and peer URLs of all members.
    pub members: BTreeMap<String, Vec<String>>,
}

impl Restored {
    pub fn encode(&self) -> Vec<u8> {
        let mut texts = vec![self.name.as_str(), self.token.as_str()];
        for (name, urls) in &self.members {
            urls.iter().for_each(|url| texts.extend([name.as_str(), url.as_str()]));
        }
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&length(texts.len()));
        for text in texts {
            bytes.extend_from_slice(&length(text.len()));
            bytes.extend_from_slice(text.as_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (count, mut rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
        let mut texts = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            texts.push(String::from_utf8(text.to_vec()).ok()?);
            rest = behind;
        }
        let [name, token, pairs @ ..] = texts.as_slice() else { return None };
        let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in pairs.chunks(2) {
            let [name, url] = pair else { return None };
            members.entry(name.clone()).or_default().push(url.clone());
        }
        Some(Self { name: name.clone(), token: token.clone(), members }).filter(|_| rest.is_empty())
    }

    fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Self>> {
        let path = data_dir.join(FILE);
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let file = disk.open(&path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?.min(FILE_BYTES_MAX)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        let damaged = || {
            let what = format!("{} is damaged, or was written by a newer version", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        Self::decode(&bytes).map(Some).ok_or_else(damaged)
    }
}

/// Whether the state in the directory came out of a snapshot file.
pub fn is_restored(disk: &dyn Disk, data_dir: &Path) -> io::Result<bool> {
    disk.exists(&data_dir.join(FILE))
}

/// The settings of a member that starts for the first time out of a restored directory: as in etcd, what was said at
/// the restore counts, and `--initial-cluster` and what belongs to it do not.
pub fn take_up(settings: Settings, disk: &dyn Disk) -> Result<Settings, StartError> {
    let data_dir = settings.data_dir.clone();
    let failed = |source| StartError::Directory { path: data_dir.clone(), source };
    if Identity::is_there(disk, &data_dir).map_err(failed)? {
        return Ok(settings);
    }
    let Some(restored) = Restored::read(disk, &data_dir).map_err(failed)? else { return Ok(settings) };
    if restored.name != settings.name {
        return Err(StartError::RestoredAs { dir: data_dir, name: restored.name, given: settings.name });
    }
    tracing::info!(members = ?restored.members, "this member founds a cluster on a restored state");
    let own = restored.members.get(&restored.name).cloned().unwrap_or_default();
    Ok(Settings {
        advertise_peer_urls: own,
        initial_cluster: restored.members,
        initial_cluster_token: restored.token,
        initial_cluster_state: ClusterState::New,
        ..settings
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Restored {
        let member = |number: u8| (format!("m{number}"), vec![format!("http://10.0.0.{number}:2380")]);
        let mut members: BTreeMap<_, _> = (1..4).map(member).collect();
        members.get_mut("m1").unwrap().push("https://m1.example:2380".to_owned());
        Restored { name: "m2".to_owned(), token: "t@00".to_owned(), members }
    }

    #[test]
    fn what_is_written_is_read_and_any_flipped_bit_is_noticed() {
        let good = three().encode();
        assert_eq!(Restored::decode(&good), Some(three()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Restored::decode(&bad), None, "bit {bit}");
        }
    }
}
