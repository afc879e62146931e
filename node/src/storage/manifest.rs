//! Which files a checkpoint consists of, with a digest of each: what makes a copy of it provable.
//!
//! ```text
//! MANIFEST.holdfast = "HFCHKMAN" (8) | version u32 = 1 | files u32 | file* | crc u32
//! file              = name length u32 | name | length u64 | sha256 (32)
//! ```
//!
//! Integers are little-endian. `crc` is crc32 (IEEE) over all bytes before it. Files are sorted by name and each stands
//! once; a name is plain: it names no other directory. The manifest does not list itself.

use std::fmt;
use std::io;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::env::{Disk, OpenMode};

use super::replace::write_new_file;
use super::{CheckpointFile, EngineError};

/// The manifest's name inside the checkpoint's directory. Distinct from RocksDB's own `MANIFEST-*`.
pub(super) const MANIFEST: &str = "MANIFEST.holdfast";

const MAGIC: &[u8; 8] = b"HFCHKMAN";
const VERSION: u32 = 1;
/// Magic, version, count, crc.
const FIXED_BYTES: usize = 8 + 4 + 4 + 4;
/// Largest manifest that is read: some 500,000 files.
const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A digest is taken in pieces of this size.
const READ_BYTES: usize = 256 * 1024;

/// SHA-256 of a whole file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileDigest(pub [u8; 32]);

impl FileDigest {
    /// Reads the file at `path` once, in bounded memory.
    pub fn of(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let length = file.len()?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut offset = 0;
        while offset < length {
            let piece = usize::try_from(length - offset).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_exact_at(&mut buffer[..piece], offset)?;
            hasher.update(&buffer[..piece]);
            offset += piece as u64;
        }
        Ok(Self(hasher.finalize().into()))
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    pub name: String,
    /// In bytes.
    pub length: u64,
    pub digest: FileDigest,
}

/// All files of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointManifest {
    files: Vec<ManifestFile>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("a checkpoint manifest fails its checksum, or is none")]
    Rotten,
    #[error("a checkpoint manifest has version {found}, this version reads {VERSION}")]
    Version { found: u32 },
    #[error("a checkpoint manifest lists files out of order, twice, or by names that are not plain")]
    Names,
}

impl CheckpointManifest {
    /// From files named in any order.
    pub fn new(mut files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Self::from_sorted(files)
    }

    fn from_sorted(files: Vec<ManifestFile>) -> Result<Self, ManifestError> {
        let ordered = files.windows(2).all(|pair| pair[0].name < pair[1].name);
        if !ordered || !files.iter().all(|file| is_plain(&file.name)) {
            return Err(ManifestError::Names);
        }
        Ok(Self { files })
    }

    /// Digests the files that an engine put into `dir`.
    pub(super) fn take(disk: &dyn Disk, dir: &Path, files: &[CheckpointFile]) -> io::Result<Self> {
        let digested = files.iter().map(|file| {
            let digest = FileDigest::of(disk, &dir.join(&file.name))?;
            Ok(ManifestFile { name: file.name.clone(), length: file.length, digest })
        });
        Self::new(digested.collect::<io::Result<_>>()?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Sorted by name.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// Of all files together.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(u32::try_from(self.files.len()).expect("a checkpoint has fewer than 2^32 files"));
        for file in &self.files {
            bytes.put_u32_le(u32::try_from(file.name.len()).expect("a file's name is shorter than 4 GiB"));
            bytes.put_slice(file.name.as_bytes());
            bytes.put_u64_le(file.length);
            bytes.put_slice(&file.digest.0);
        }
        bytes.put_u32_le(crc32fast::hash(&bytes));
        bytes.freeze()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() < FIXED_BYTES || bytes[..8] != *MAGIC {
            return Err(ManifestError::Rotten);
        }
        let (mut covered, mut crc) = bytes.split_at(bytes.len() - 4);
        if crc.get_u32_le() != crc32fast::hash(covered) {
            return Err(ManifestError::Rotten);
        }
        covered.advance(MAGIC.len());
        let found = covered.get_u32_le();
        if found != VERSION {
            return Err(ManifestError::Version { found });
        }
        let count = covered.get_u32_le();
        // Grows as files are found: the count alone must not make this allocate.
        let mut files = Vec::new();
        for _ in 0..count {
            files.push(decode_file(&mut covered).ok_or(ManifestError::Rotten)?);
        }
        if !covered.is_empty() {
            return Err(ManifestError::Rotten);
        }
        Self::from_sorted(files)
    }

    /// Proves that `dir` holds these files, bit for bit, and no others: RocksDB would take a stray file for its own.
    pub fn verify(&self, disk: &dyn Disk, dir: &Path) -> Result<(), EngineError> {
        let corrupt = |what: String| EngineError::Corrupt { detail: format!("checkpoint {}: {what}", dir.display()) };
        let present: Vec<_> = disk.list(dir)?.into_iter().filter(|name| name != MANIFEST).collect();
        if let Some(stray) = present.iter().find(|name| !self.files.iter().any(|file| &file.name == *name)) {
            return Err(corrupt(format!("{stray} does not belong to it")));
        }
        for file in &self.files {
            if !present.contains(&file.name) {
                return Err(corrupt(format!("{} is missing", file.name)));
            }
            let path = dir.join(&file.name);
            let length = disk.open(&path, OpenMode::Read)?.len()?;
            if length != file.length {
                return Err(corrupt(format!("{} has {length} bytes, not {}", file.name, file.length)));
            }
            let digest = FileDigest::of(disk, &path)?;
            if digest != file.digest {
                return Err(corrupt(format!("{} has SHA-256 {digest}, not {}", file.name, file.digest)));
            }
        }
        Ok(())
    }

    /// Adds the manifest to the checkpoint in `dir`; its name is durable once `dir` is synced.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        write_new_file(disk, &dir.join(MANIFEST), |file| file.write_all_at(&self.encode(), 0))
    }

    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join(MANIFEST);
        let corrupt = |what: &dyn fmt::Display| EngineError::Corrupt { detail: format!("{}: {what}", path.display()) };
        let file = disk.open(&path, OpenMode::Read)?;
        let length = file.len()?;
        if length > MANIFEST_BYTES_MAX {
            return Err(corrupt(&format_args!("{length} bytes are more than a manifest can have")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| corrupt(&"too long for this machine"))?];
        file.read_exact_at(&mut bytes, 0)?;
        Self::decode(&bytes).map_err(|error| corrupt(&error))
    }
}

fn decode_file(bytes: &mut &[u8]) -> Option<ManifestFile> {
    let name_bytes = bytes.try_get_u32_le().ok()? as usize;
    let name = String::from_utf8(bytes.get(..name_bytes)?.to_vec()).ok()?;
    bytes.advance(name_bytes);
    let length = bytes.try_get_u64_le().ok()?;
    let mut digest = [0; 32];
    bytes.try_copy_to_slice(&mut digest).ok()?;
    Some(ManifestFile { name, length, digest: FileDigest(digest) })
}

/// A manifest may come from another machine: no name in it may lead out of the checkpoint's directory.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> ManifestFile {
        ManifestFile { name: name.to_owned(), length: 7, digest: FileDigest([3; 32]) }
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = CheckpointManifest::new(vec![file("b"), file("a")]).unwrap();
        assert_eq!(manifest.files()[0].name, "a");
        assert_eq!(manifest.total_bytes(), 14);
        assert_eq!(CheckpointManifest::decode(&manifest.encode()), Ok(manifest));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = CheckpointManifest::new(vec![file("a"), file("b")]).unwrap().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CheckpointManifest::decode(&bad), Err(ManifestError::Rotten), "bit {bit}");
        }
        for length in 0..good.len() {
            assert_eq!(CheckpointManifest::decode(&good[..length]), Err(ManifestError::Rotten), "length {length}");
        }
    }

    #[test]
    fn names_stay_inside_the_directory() {
        for name in ["", ".", "..", "../etc/passwd", "a/b", "/etc/passwd"] {
            assert_eq!(CheckpointManifest::new(vec![file(name)]), Err(ManifestError::Names), "{name}");
        }
        assert_eq!(CheckpointManifest::new(vec![file("a"), file("a")]), Err(ManifestError::Names));
    }
}
