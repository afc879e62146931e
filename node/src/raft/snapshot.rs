//! Snapshots on the move: a checkpoint's files, each with a digest, sent in pieces and resumable.
//!
//! ```text
//!   leader                                   follower
//!   offer: position, members, files  ----->  incoming/<transfer id>/ : what is there already?
//!          <-----  wanted: name, first missing byte of each incomplete file
//!   chunks: name, offset, data, crc  ----->  written as they come
//!          <-----  installed                 every digest checked, synced, handed to the state machine
//! ```
//!
//! The transfer id is the digest of the offer, so a transfer broken by either side's restart goes on where it stopped
//! as long as the same checkpoint is offered. Nothing is held in memory but one chunk. A file that fails its digest is
//! dropped and asked for again; a snapshot is never installed with one.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use holdfast_proto::peer;
use holdfast_proto::peer::raft_client::RaftClient;
use openraft::alias::SnapshotOf;
use openraft::raft::SnapshotResponse;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::types::{RaftVote, SnapshotMeta, StoredMembership, TypeConfig};
use super::wire;
use crate::env::{Disk, OpenMode, sometimes};
use crate::rt;
use crate::storage::CheckpointFile;

/// Bytes read, sent and written at a time.
const CHUNK_BYTES: usize = 256 * 1024;
const OFFER_DEADLINE: Duration = Duration::from_secs(10);
/// What a transfer may take besides its bytes: syncs, opening the state.
const TRANSFER_BASE_DEADLINE: Duration = Duration::from_secs(60);
/// A transfer slower than this is given up, and resumed.
const TRANSFER_BYTES_PER_S_MIN: u64 = 1024 * 1024;
/// Marks the directory of a complete snapshot on its way into the state. A transfer's own name is hexadecimal.
const INSTALLING_PREFIX: &str = "installing-";

/// A complete snapshot in a directory: a checkpoint of ours, or one received.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub files: Vec<CheckpointFile>,
    /// Computed when the snapshot is first sent: a checkpoint is cheap, reading all of it is not. Whoever holds this
    /// also keeps the directory from being removed.
    pub digests: Arc<Mutex<Option<Vec<Bytes>>>>,
}

impl SnapshotFiles {
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, files: Vec<CheckpointFile>) -> Self {
        Self { disk, dir, files, digests: Arc::new(Mutex::new(None)) }
    }

    /// Somebody else holds a handle: it is being sent.
    pub fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.digests) > 1
    }

    /// SHA-256 of each file, in order. Reads them all the first time.
    fn digest_all(&self) -> io::Result<Vec<Bytes>> {
        let mut digests = self.digests.lock();
        if let Some(known) = digests.as_ref() {
            return Ok(known.clone());
        }
        let fresh: Vec<Bytes> = self
            .files
            .iter()
            .map(|file| digest_file(self.disk.as_ref(), &self.dir.join(&file.name)))
            .collect::<io::Result<_>>()?;
        *digests = Some(fresh.clone());
        Ok(fresh)
    }
}

/// One file of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfferedFile {
    name: String,
    length: u64,
    sha256: Bytes,
}

/// SHA-256 of a file, read in pieces.
fn digest_file(disk: &dyn Disk, path: &Path) -> io::Result<Bytes> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = file.len()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < length {
        let piece = piece_of(&mut buffer, length - offset);
        file.read_exact_at(piece, offset)?;
        hasher.update(&*piece);
        offset += piece.len() as u64;
    }
    Ok(Bytes::copy_from_slice(&hasher.finalize()))
}

/// As much of `buffer` as the `left` bytes need.
fn piece_of(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
    &mut buffer[..length]
}

// ---- the sending side ----

/// Offers a snapshot and sends what the other side lacks of it.
pub async fn send(
    mut client: RaftClient<rt::Channel>,
    envelope: peer::Envelope,
    vote: RaftVote,
    snapshot: SnapshotOf<TypeConfig, SnapshotFiles>,
) -> Result<SnapshotResponse<TypeConfig>, Status> {
    let data = snapshot.snapshot;
    let to_digest = data.clone();
    let digests = rt::blocking(move || to_digest.digest_all())
        .await
        .and_then(|digests| digests)
        .map_err(|error| Status::internal(format!("the snapshot cannot be read: {error}")))?;
    let offer = offer_of(envelope, &vote, &snapshot.meta, &data, digests);
    let wanted = rt::timeout(OFFER_DEADLINE, client.offer_snapshot(offer))
        .await
        .map_err(|_| Status::deadline_exceeded("a snapshot offer was not answered"))??
        .into_inner();
    if let Some(higher) = wanted.higher_vote {
        let vote = wire::vote_from_wire(Some(higher)).map_err(|error| Status::internal(error.to_string()))?;
        return Ok(SnapshotResponse::new(vote));
    }
    let bytes = missing_bytes(&data, &wanted);
    tracing::info!(to = envelope.to_member, bytes, transfer = wanted.transfer_id, "sending a snapshot");
    let deadline = deadline_of(&data);
    let installed = rt::timeout(deadline, client.send_snapshot(chunks(envelope, data, wanted)))
        .await
        .map_err(|_| Status::deadline_exceeded(format!("a snapshot of {bytes} bytes took over {deadline:?}")))??
        .into_inner();
    let vote = wire::vote_from_wire(installed.vote).map_err(|error| Status::internal(error.to_string()))?;
    Ok(SnapshotResponse::new(vote))
}

fn offer_of(
    envelope: peer::Envelope,
    vote: &RaftVote,
    meta: &SnapshotMeta,
    data: &SnapshotFiles,
    digests: Vec<Bytes>,
) -> peer::SnapshotOffer {
    let files = data.files.iter().zip(digests).map(|(file, sha256)| peer::SnapshotFile {
        name: file.name.clone(),
        length: file.length,
        sha256,
    });
    peer::SnapshotOffer {
        envelope: Some(envelope),
        vote: Some(wire::vote_to_wire(vote)),
        last_log: wire::optional_log_id_to_wire(meta.last_log_id.as_ref()),
        membership_log: wire::optional_log_id_to_wire(meta.last_membership.log_id().as_ref()),
        membership: Some(wire::membership_to_wire(meta.last_membership.membership())),
        files: files.collect(),
    }
}

/// The other side digests every byte before it installs, those it had already included: all of them count.
fn deadline_of(data: &SnapshotFiles) -> Duration {
    let bytes: u64 = data.files.iter().map(|file| file.length).sum();
    TRANSFER_BASE_DEADLINE + Duration::from_secs(bytes / TRANSFER_BYTES_PER_S_MIN)
}

fn missing_bytes(data: &SnapshotFiles, wanted: &peer::SnapshotWanted) -> u64 {
    let length_of = |name: &str| data.files.iter().find(|file| file.name == name).map_or(0, |file| file.length);
    wanted.parts.iter().map(|part| length_of(&part.name).saturating_sub(part.offset)).sum()
}

/// The missing parts, piece by piece. A read that fails ends the stream early: the other side then lacks bytes, says
/// so, and the next offer goes on from there.
fn chunks(
    envelope: peer::Envelope,
    data: SnapshotFiles,
    wanted: peer::SnapshotWanted,
) -> impl Stream<Item = peer::SnapshotChunk> + Send + 'static {
    async_stream::stream! {
        // All of it: the block would take only the fields it reads, and so drop what keeps the directory.
        let data = data;
        let mut envelope = Some(envelope);
        for part in wanted.parts {
            let Some(file) = data.files.iter().find(|file| file.name == part.name).cloned() else { continue };
            let mut offset = part.offset;
            loop {
                let (disk, path, length) = (Arc::clone(&data.disk), data.dir.join(&file.name), file.length);
                let read = rt::blocking(move || read_piece(disk.as_ref(), &path, offset, length)).await;
                let piece = match read.and_then(|piece| piece) {
                    Ok(piece) => piece,
                    Err(error) => {
                        tracing::error!(file = file.name, offset, %error, "a snapshot file could not be read");
                        return;
                    }
                };
                let sent = piece.len() as u64;
                yield peer::SnapshotChunk {
                    envelope: envelope.take(),
                    transfer_id: wanted.transfer_id.clone(),
                    name: file.name.clone(),
                    offset,
                    crc32: crc32fast::hash(&piece),
                    data: piece,
                };
                offset += sent;
                if offset >= file.length {
                    break;
                }
            }
        }
    }
}

fn read_piece(disk: &dyn Disk, path: &Path, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let piece = piece_of(&mut buffer, length - offset);
    disk.open(path, OpenMode::Read)?.read_exact_at(piece, offset)?;
    let piece_length = piece.len();
    buffer.truncate(piece_length);
    Ok(Bytes::from(buffer))
}

// ---- the receiving side ----

/// A snapshot that is being received.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub id: String,
    pub vote: RaftVote,
    pub meta: SnapshotMeta,
    files: Vec<OfferedFile>,
    dir: PathBuf,
}

/// Where received files gather until a snapshot is complete.
#[derive(Clone, Debug)]
pub struct Incoming {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl Incoming {
    /// Nothing is being installed yet: what an earlier run was about to install is removed, and will be sent again.
    pub fn open(disk: Arc<dyn Disk>, root: PathBuf) -> io::Result<Self> {
        disk.create_dir_all(&root)?;
        for name in disk.list(&root)? {
            if name.starts_with(INSTALLING_PREFIX) {
                disk.remove_dir_all(&root.join(name))?;
            }
        }
        Ok(Self { disk, root })
    }

    /// Takes an offer. Files of other transfers are dropped: there is one leader, and it has one snapshot. What is on
    /// its way into the state stays.
    pub fn begin(&self, offer: peer::SnapshotOffer) -> io::Result<Transfer> {
        let vote = wire::vote_from_wire(offer.vote)?;
        let membership = offer.membership.clone().ok_or_else(|| invalid("an offer without members"))?;
        let meta = SnapshotMeta {
            last_log_id: offer.last_log.map(wire::log_id_from_wire),
            last_membership: StoredMembership::new(
                offer.membership_log.map(wire::log_id_from_wire),
                wire::membership_from_wire(membership)?,
            ),
        };
        let files: Vec<_> = offer
            .files
            .into_iter()
            .map(|file| OfferedFile { name: file.name, length: file.length, sha256: file.sha256 })
            .collect();
        if let Some(bad) = files.iter().find(|file| !is_plain_name(&file.name)) {
            return Err(invalid(format!("a snapshot file may not be called {:?}", bad.name)));
        }
        let id = transfer_id(&meta, &files);
        if self.disk.exists(&self.installing_dir(&id))? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "this snapshot is being installed already"));
        }
        self.disk.create_dir_all(&self.root)?;
        for other in self.disk.list(&self.root)? {
            if other != id && !other.starts_with(INSTALLING_PREFIX) {
                self.disk.remove_dir_all(&self.root.join(other))?;
            }
        }
        let dir = self.root.join(&id);
        self.disk.create_dir_all(&dir)?;
        Ok(Transfer { id, vote, meta, files, dir })
    }

    /// What is still missing.
    pub fn wanted(&self, transfer: &Transfer) -> io::Result<peer::SnapshotWanted> {
        let mut parts = Vec::new();
        for file in &transfer.files {
            let there = self.length_of(&transfer.dir.join(&file.name))?;
            match there {
                Some(length) if length == file.length => {}
                Some(length) if length < file.length => {
                    sometimes!(SnapshotResumed);
                    parts.push(peer::snapshot_wanted::Part { name: file.name.clone(), offset: length });
                }
                _ => parts.push(peer::snapshot_wanted::Part { name: file.name.clone(), offset: 0 }),
            }
        }
        Ok(peer::SnapshotWanted { transfer_id: transfer.id.clone(), parts, higher_vote: None })
    }

    fn installing_dir(&self, id: &str) -> PathBuf {
        self.root.join(format!("{INSTALLING_PREFIX}{id}"))
    }

    fn length_of(&self, path: &Path) -> io::Result<Option<u64>> {
        if self.disk.exists(path)? { Ok(Some(self.disk.open(path, OpenMode::Read)?.len()?)) } else { Ok(None) }
    }

    /// Writes one chunk where it belongs.
    pub fn write(&self, transfer: &Transfer, chunk: &peer::SnapshotChunk) -> io::Result<()> {
        if chunk.transfer_id != transfer.id {
            return Err(invalid(format!(
                "a chunk of transfer {}, while {} is under way",
                chunk.transfer_id, transfer.id
            )));
        }
        let file = transfer
            .files
            .iter()
            .find(|file| file.name == chunk.name)
            .ok_or_else(|| invalid(format!("a chunk of {:?}, which was not offered", chunk.name)))?;
        if chunk.offset.saturating_add(chunk.data.len() as u64) > file.length {
            return Err(invalid(format!("a chunk beyond the end of {}", chunk.name)));
        }
        if crc32fast::hash(&chunk.data) != chunk.crc32 {
            return Err(invalid(format!("a chunk of {} at {} was damaged on the way", chunk.name, chunk.offset)));
        }
        let path = transfer.dir.join(&file.name);
        let mode = if self.disk.exists(&path)? { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let open = self.disk.open(&path, mode)?;
        if chunk.offset == 0 {
            open.set_len(0)?;
        } else if chunk.offset > open.len()? {
            return Err(invalid(format!("a chunk of {} that leaves a gap before {}", chunk.name, chunk.offset)));
        }
        open.write_all_at(&chunk.data, chunk.offset)
    }

    /// Checks every digest and makes everything durable. A file that fails is removed, so that the next offer brings
    /// it again. A complete snapshot moves to where no later offer can remove it: it may wait for a while until the
    /// state machine takes it.
    pub fn finish(&self, transfer: &Transfer) -> io::Result<SnapshotFiles> {
        for file in &transfer.files {
            let path = transfer.dir.join(&file.name);
            let length = self.length_of(&path)?;
            if length != Some(file.length) {
                return Err(invalid(format!("{} has {length:?} of {} bytes", file.name, file.length)));
            }
            if digest_file(self.disk.as_ref(), &path)? != file.sha256 {
                self.disk.remove_file(&path)?;
                return Err(invalid(format!("{} does not match its digest and will be fetched again", file.name)));
            }
            self.disk.open(&path, OpenMode::ReadWrite)?.sync()?;
        }
        self.disk.sync_dir(&transfer.dir)?;
        let installing = self.installing_dir(&transfer.id);
        self.disk.rename(&transfer.dir, &installing)?;
        // It moves once more, into the state: each move must be durable before the next, or a crash may keep neither.
        self.disk.sync_dir(&self.root)?;
        let files =
            transfer.files.iter().map(|file| CheckpointFile { name: file.name.clone(), length: file.length }).collect();
        Ok(SnapshotFiles::new(Arc::clone(&self.disk), installing, files))
    }

    /// After the state machine had its chance: a snapshot that it did not want is removed.
    pub fn forget(&self, transfer: &Transfer) -> io::Result<()> {
        let installing = self.installing_dir(&transfer.id);
        if self.disk.exists(&installing)? { self.disk.remove_dir_all(&installing) } else { Ok(()) }
    }
}

fn invalid(detail: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail.into())
}

/// A name that stays inside its directory.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

fn transfer_id(meta: &SnapshotMeta, files: &[OfferedFile]) -> String {
    let mut hasher = Sha256::new();
    if let Some(last) = &meta.last_log_id {
        hasher.update(last.index.to_le_bytes());
        hasher.update(last.committed_leader_id().to_le_bytes());
    }
    for file in files {
        hasher.update(file.name.as_bytes());
        hasher.update(file.length.to_le_bytes());
        hasher.update(&file.sha256);
    }
    hasher.finalize()[..16].iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FaultyDisk;

    fn offer(index: u64, data: &[u8]) -> peer::SnapshotOffer {
        peer::SnapshotOffer {
            vote: Some(peer::Vote { term: 1, node: 1, committed: true }),
            last_log: Some(peer::LogId { term: 1, index }),
            membership: Some(peer::Membership::default()),
            files: vec![peer::SnapshotFile {
                name: "state".to_owned(),
                length: data.len() as u64,
                sha256: Bytes::copy_from_slice(&Sha256::digest(data)),
            }],
            ..Default::default()
        }
    }

    fn receive(incoming: &Incoming, index: u64, data: &'static [u8]) -> (Transfer, SnapshotFiles) {
        let transfer = incoming.begin(offer(index, data)).unwrap();
        let chunk = peer::SnapshotChunk {
            transfer_id: transfer.id.clone(),
            name: "state".to_owned(),
            crc32: crc32fast::hash(data),
            data: Bytes::from_static(data),
            ..Default::default()
        };
        incoming.write(&transfer, &chunk).unwrap();
        let files = incoming.finish(&transfer).unwrap();
        (transfer, files)
    }

    #[test]
    fn a_complete_snapshot_outlives_later_offers_until_it_is_installed() {
        let disk = FaultyDisk::new(1);
        let root = PathBuf::from("/incoming");
        let incoming = Incoming::open(Arc::new(disk.clone()), root.clone()).unwrap();
        let (first, files) = receive(&incoming, 10, b"first");
        let second = incoming.begin(offer(20, b"second")).unwrap();
        assert!(disk.exists(&files.dir.join("state")).unwrap(), "it waits for the state machine");
        let again = incoming.begin(offer(10, b"first")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::ResourceBusy);

        // Unwanted after all.
        incoming.forget(&first).unwrap();
        assert!(!disk.exists(&files.dir.join("state")).unwrap());
        assert_eq!(disk.list(&root).unwrap(), [second.id]);
        incoming.begin(offer(10, b"first")).unwrap();
    }

    #[test]
    fn a_restart_clears_what_was_being_installed_and_keeps_what_can_be_resumed() {
        let disk = FaultyDisk::new(1);
        let root = PathBuf::from("/incoming");
        let incoming = Incoming::open(Arc::new(disk.clone()), root.clone()).unwrap();
        receive(&incoming, 10, b"first");
        let half = incoming.begin(offer(20, b"second")).unwrap();
        assert_eq!(disk.list(&root).unwrap().len(), 2);
        Incoming::open(Arc::new(disk.clone()), root.clone()).unwrap();
        assert_eq!(disk.list(&root).unwrap(), [half.id]);
    }

    #[test]
    fn a_transfer_has_time_for_bytes_that_were_there_already() {
        let file = CheckpointFile { name: "state".to_owned(), length: 600 * TRANSFER_BYTES_PER_S_MIN };
        let data = SnapshotFiles::new(Arc::new(FaultyDisk::new(1)), PathBuf::from("/s"), vec![file]);
        assert_eq!(deadline_of(&data), TRANSFER_BASE_DEADLINE + Duration::from_secs(600));
    }

    #[test]
    fn a_checkpoint_is_in_use_as_long_as_it_is_sent() {
        let ours = SnapshotFiles::new(Arc::new(FaultyDisk::new(1)), PathBuf::from("/checkpoint"), Vec::new());
        let sent = chunks(peer::Envelope::default(), ours.clone(), peer::SnapshotWanted::default());
        assert!(ours.is_in_use());
        drop(sent);
        assert!(!ours.is_in_use());
    }
}
