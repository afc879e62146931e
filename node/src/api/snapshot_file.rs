//! The file that `snapshot save` makes: a whole checkpoint in one stream of bytes.
//!
//! ```text
//! offset  size  what
//!      0     8  "HFSNAPF1"
//!      8     4  version, u32 LE = 1
//!     12     4  length of the manifest in bytes, u32 LE
//!     16     8  cluster id, u64 LE
//!     24     8  member id of the sender, u64 LE
//!     32     8  revision that the state holds at least, i64 LE
//!     40     8  the sender's wall clock when it began, Unix milliseconds, u64 LE
//!     48     m  manifest of the checkpoint: names, lengths, SHA-256 of each file (storage/manifest.rs)
//!   48+m     4  crc32 (IEEE) of everything before
//!            .  zeros up to a multiple of 512
//!            .  the files, in the manifest's order, one behind the other
//!            .  zeros up to a multiple of 512
//!           32  SHA-256 of everything before
//! ```
//!
//! The last two lines are etcd's convention: `etcdctl` checks that the size leaves 32 when divided by 512, and tools
//! verify the digest. What is inside is ours: `etcdutl` cannot open it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::storage::CheckpointManifest;
use crate::types::{ClusterId, MemberId, Revision};

const MAGIC: &[u8; 8] = b"HFSNAPF1";
const VERSION: u32 = 1;
const ALIGNMENT_BYTES: u64 = 512;

/// What the head says besides the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub cluster: ClusterId,
    pub member: MemberId,
    /// A lower bound: the checkpoint was made after this revision was applied.
    pub revision: Revision,
    pub began_unix_ms: u64,
}

/// Zeros that bring `length` to the next multiple of the alignment.
fn padding(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT_BYTES) - length
}

/// Everything in front of the first file.
pub fn head(origin: &Origin, manifest: &CheckpointManifest) -> Bytes {
    let manifest = manifest.encode();
    let mut head = BytesMut::with_capacity(manifest.len() + 1024);
    head.put_slice(MAGIC);
    head.put_u32_le(VERSION);
    head.put_u32_le(u32::try_from(manifest.len()).expect("a manifest is bounded far below 4 GiB"));
    head.put_u64_le(origin.cluster.0);
    head.put_u64_le(origin.member.0);
    head.put_i64_le(origin.revision.0);
    head.put_u64_le(origin.began_unix_ms);
    head.put_slice(&manifest);
    let crc = crc32fast::hash(&head);
    head.put_u32_le(crc);
    head.put_bytes(0, zeros(head.len() as u64));
    head.freeze()
}

/// What stands between the last file and the digest.
pub fn tail(manifest: &CheckpointManifest) -> Bytes {
    Bytes::from(vec![0; zeros(manifest.total_bytes())])
}

fn zeros(length: u64) -> usize {
    usize::try_from(padding(length)).expect("less than one alignment")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{FileDigest, ManifestFile};

    fn manifest(lengths: &[u64]) -> CheckpointManifest {
        let files = lengths.iter().enumerate().map(|(i, length)| ManifestFile {
            name: format!("{i:06}.sst"),
            length: *length,
            digest: FileDigest([7; 32]),
        });
        CheckpointManifest::new(files.collect()).unwrap()
    }

    const ORIGIN: Origin =
        Origin { cluster: ClusterId(1), member: MemberId(2), revision: Revision(3), began_unix_ms: 4 };

    #[test]
    fn whatever_the_files_all_but_the_digest_is_a_multiple_of_512() {
        for lengths in [&[][..], &[1], &[511], &[512], &[513, 0, 70_000]] {
            let manifest = manifest(lengths);
            let whole =
                head(&ORIGIN, &manifest).len() as u64 + lengths.iter().sum::<u64>() + tail(&manifest).len() as u64;
            assert_eq!(whole % 512, 0, "{lengths:?}");
        }
    }

    #[test]
    fn the_head_says_where_it_comes_from_and_covers_itself() {
        let manifest = manifest(&[9]);
        let head = head(&ORIGIN, &manifest);
        let manifest_bytes = manifest.encode().len();
        assert_eq!(&head[..8], MAGIC);
        assert_eq!(head[12..16], u32::try_from(manifest_bytes).unwrap().to_le_bytes());
        assert_eq!(head[16..24], 1_u64.to_le_bytes());
        assert_eq!(head[32..40], 3_i64.to_le_bytes());
        let end = 48 + manifest_bytes;
        assert_eq!(CheckpointManifest::decode(&head[48..end]).unwrap(), manifest);
        assert_eq!(head[end..end + 4], crc32fast::hash(&head[..end]).to_le_bytes());
        assert!(head[end + 4..].iter().all(|byte| *byte == 0));
    }
}
