//! Sending a copy of the state to a client: `Maintenance.Snapshot`.
//!
//! A checkpoint is made (hard links, so it costs little), its files are read in pieces and sent in blobs as fast as the
//! client takes them, and the checkpoint is removed at the end: also when the client hangs up half-way. One piece is in
//! memory at a time, whatever the size of the state.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use holdfast_proto::etcdserverpb::SnapshotResponse;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::gate::{Rpc, Ticket};
use super::outcome::work_died;
use super::snapshot_file::{Origin, head, tail};
use super::{ETCD_VERSION, status, stop};
use crate::env::{Disk, OpenMode};
use crate::ops::Ops;
use crate::rt;
use crate::storage::{CheckpointError, CheckpointManifest, EngineError, Store};

/// Size of one message, in bytes. As in etcd.
const BLOB_BYTES: usize = 32 * 1024;
/// What is read from disk at once, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;
/// How the checkpoints that are made for clients are named, so that those a crash left behind are known.
const NAME_PREFIX: &str = "for-client-";

/// Where a snapshot comes from.
pub struct Source {
    pub ops: Ops,
    pub disk: Arc<dyn Disk>,
    pub stopping: rt::watch::Receiver<bool>,
}

/// A checkpoint that lives as long as somebody reads it.
struct Checkpoint {
    store: Arc<Store>,
    name: String,
    manifest: CheckpointManifest,
}

impl Checkpoint {
    fn file(&self, name: &str) -> Result<PathBuf, CheckpointError> {
        Ok(self.store.checkpoint_dir(&self.name)?.join(name))
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let (store, name) = (Arc::clone(&self.store), std::mem::take(&mut self.name));
        rt::spawn(async move {
            let removed = rt::blocking(move || store.remove_checkpoint(&name)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "a checkpoint that was sent to a client could not be removed");
            }
        });
    }
}

/// Removes the checkpoints that were being sent when the process died. Call it before clients are served.
pub fn remove_leftover_checkpoints(store: &Store) -> Result<(), EngineError> {
    for name in store.list_checkpoints()?.into_iter().filter(|name| name.starts_with(NAME_PREFIX)) {
        if let Err(error) = store.remove_checkpoint(&name) {
            tracing::warn!(name, %error, "a leftover checkpoint could not be removed");
        }
    }
    Ok(())
}

/// The whole file in blobs; the last one is the digest of all before.
pub fn blobs(
    mut source: Source,
    rpc: Rpc,
    ticket: Ticket,
) -> impl Stream<Item = Result<SnapshotResponse, Status>> + Send {
    async_stream::stream! {
        let mut reader = match Reader::open(&source).await {
            Ok(reader) => reader,
            Err(status) => {
                ticket.finish(Some(&status));
                yield Err(status);
                return;
            }
        };
        loop {
            let piece = tokio::select! {
                biased;
                () = stop::requested(&mut source.stopping) => Err(status::stopped()),
                piece = reader.next_piece() => piece,
            };
            match piece {
                Ok(Some(mut piece)) => {
                    while !piece.is_empty() {
                        let blob = piece.split_to(piece.len().min(BLOB_BYTES));
                        yield Ok(reader.message(&rpc, blob));
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    ticket.finish(Some(&status));
                    yield Err(status);
                    return;
                }
            }
        }
        let digest = Bytes::copy_from_slice(&reader.digest());
        yield Ok(reader.message(&rpc, digest));
        ticket.finish(None);
    }
}

/// Goes through the file from its head to its tail.
struct Reader {
    checkpoint: Checkpoint,
    disk: Arc<dyn Disk>,
    next: Next,
    hasher: Sha256,
    /// Bytes of the file not sent yet, the digest left out: so etcd counts.
    remaining_bytes: u64,
}

/// What comes next.
enum Next {
    Head(Bytes),
    File { number: usize, offset: u64 },
    Tail,
    End,
}

impl Reader {
    async fn open(source: &Source) -> Result<Self, Status> {
        let ops = &source.ops;
        let origin = Origin {
            cluster: ops.peers().cluster(),
            member: ops.me(),
            revision: ops.revision()?,
            began_unix_ms: rt::wall_unix_ms(),
        };
        let name = format!("{NAME_PREFIX}{:016x}", rt::random_u64());
        let store = Arc::clone(ops.store());
        // The checkpoint's owner comes out of the thread that made it: one that nobody waits for any more is removed.
        let made = rt::blocking(move || {
            let manifest = store.checkpoint(&name)?;
            Ok::<_, CheckpointError>(Checkpoint { store, name, manifest })
        });
        let checkpoint = made.await.map_err(work_died)??;
        let head = head(&origin, &checkpoint.manifest);
        let remaining_bytes =
            head.len() as u64 + checkpoint.manifest.total_bytes() + tail(&checkpoint.manifest).len() as u64;
        Ok(Self {
            checkpoint,
            disk: Arc::clone(&source.disk),
            next: Next::Head(head),
            hasher: Sha256::new(),
            remaining_bytes,
        })
    }

    /// The next bytes, already in the digest. `None` at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let piece = match std::mem::replace(&mut self.next, Next::End) {
                Next::Head(head) => {
                    self.next = Next::File { number: 0, offset: 0 };
                    self.hasher.update(&head);
                    head
                }
                Next::File { number, offset } => match self.checkpoint.manifest.files().get(number) {
                    None => {
                        self.next = Next::Tail;
                        continue;
                    }
                    Some(file) if offset >= file.length => {
                        self.next = Next::File { number: number + 1, offset: 0 };
                        continue;
                    }
                    Some(file) => {
                        let length = usize::try_from(file.length - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                        let path = self.checkpoint.file(&file.name)?;
                        self.next = Next::File { number, offset: offset + length as u64 };
                        self.read(path, offset, length).await?
                    }
                },
                Next::Tail => {
                    let tail = tail(&self.checkpoint.manifest);
                    self.hasher.update(&tail);
                    tail
                }
                Next::End => return Ok(None),
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Reads a piece of a file and takes it into the digest, away from the async threads: both take a while.
    async fn read(&mut self, path: PathBuf, offset: u64, length: usize) -> Result<Bytes, Status> {
        let disk = Arc::clone(&self.disk);
        let mut hasher = std::mem::take(&mut self.hasher);
        let read = move || {
            let file = disk.open(&path, OpenMode::Read)?;
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, offset)?;
            hasher.update(&buffer);
            Ok::<_, std::io::Error>((hasher, Bytes::from(buffer)))
        };
        let (hasher, piece) = rt::blocking(read).await.and_then(|read| read).map_err(work_died)?;
        self.hasher = hasher;
        Ok(piece)
    }

    fn message(&mut self, rpc: &Rpc, blob: Bytes) -> SnapshotResponse {
        self.remaining_bytes = self.remaining_bytes.saturating_sub(blob.len() as u64);
        let message = SnapshotResponse {
            header: None,
            remaining_bytes: self.remaining_bytes,
            blob,
            version: ETCD_VERSION.to_owned(),
        };
        rpc.sent(&message);
        message
    }

    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }
}
