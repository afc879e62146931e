//! Sending a copy of the state to a client: `Maintenance.Snapshot`, as a file of etcd's (`backup/`).
//!
//! A checkpoint is made (hard links, so it costs little) and opened beside the state; the file is made from it piece by
//! piece, as fast as the client takes it, and the checkpoint is removed at the end: also when the client hangs up
//! half-way. One piece is in memory at a time, whatever the size of the state.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use holdfast_proto::etcdserverpb::SnapshotResponse;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::gate::{Rpc, Ticket};
use super::outcome::work_died;
use super::{ETCD_VERSION, status, stop};
use crate::backup::EtcdFile;
use crate::ops::Ops;
use crate::rt;
use crate::storage::{CheckpointError, Engine, EngineError, Store};

/// Size of one message, in bytes. As in etcd.
const BLOB_BYTES: usize = 32 * 1024;
/// How the checkpoints that are made for clients are named, so that those a crash left behind are known.
const NAME_PREFIX: &str = "for-client-";

/// Where a snapshot comes from.
pub struct Source {
    pub ops: Ops,
    pub stopping: rt::watch::Receiver<bool>,
    /// One of the few there are; given back when the stream ends.
    #[expect(dead_code, reason = "it is held, and nothing more")]
    pub place: OwnedSemaphorePermit,
}

/// A checkpoint that lives as long as somebody reads it.
struct Checkpoint {
    store: Arc<Store>,
    name: String,
    /// `None` before it is opened, and once it is let go.
    engine: Option<Arc<dyn Engine>>,
}

impl Checkpoint {
    fn make(store: Arc<Store>) -> Result<Self, CheckpointError> {
        let name = format!("{NAME_PREFIX}{:016x}", rt::random_u64());
        store.checkpoint_files(&name)?;
        let mut made = Self { store, name, engine: None };
        made.engine = Some(made.store.open_checkpoint(&made.name)?);
        Ok(made)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let (store, name, engine) = (Arc::clone(&self.store), std::mem::take(&mut self.name), self.engine.take());
        rt::spawn(async move {
            let removed = rt::blocking(move || {
                // Closed first: it may still be writing to its files.
                drop(engine);
                store.remove_checkpoint(&name)
            });
            if let Ok(Err(error)) = removed.await {
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
        let begun = rt::now();
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
        source.ops.state_metrics().snapshot.observe(rt::since(begun).as_secs_f64());
        ticket.finish(None);
    }
}

/// Goes through the file from its beginning to its end.
struct Reader {
    checkpoint: Checkpoint,
    file: Arc<EtcdFile>,
    next_piece: usize,
    hasher: Sha256,
    /// Bytes of the file not sent yet, the digest left out: so etcd counts.
    remaining_bytes: u64,
}

impl Reader {
    async fn open(source: &Source) -> Result<Self, Status> {
        let store = Arc::clone(source.ops.store());
        // The checkpoint's owner comes out of the thread that made it: one that nobody waits for any more is removed.
        let made = rt::blocking(move || Checkpoint::make(store)).await.map_err(work_died)?;
        let checkpoint = made?;
        let engine = opened(&checkpoint)?;
        let planned = rt::blocking(move || EtcdFile::plan(&*engine.view())).await.map_err(work_died)?;
        let file = Arc::new(planned?);
        let remaining_bytes = file.total_bytes();
        Ok(Self { checkpoint, file, next_piece: 0, hasher: Sha256::new(), remaining_bytes })
    }

    /// The next bytes, already in the digest; away from the async threads, as both take a while. `None` at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Status> {
        let (engine, file, number) = (opened(&self.checkpoint)?, Arc::clone(&self.file), self.next_piece);
        let mut hasher = std::mem::take(&mut self.hasher);
        let made = rt::blocking(move || {
            let piece = file.piece(&*engine.view(), number);
            if let Ok(Some(bytes)) = &piece {
                hasher.update(bytes);
            }
            (hasher, piece)
        });
        let (hasher, piece) = made.await.map_err(work_died)?;
        self.hasher = hasher;
        self.next_piece += 1;
        Ok(piece?)
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

fn opened(checkpoint: &Checkpoint) -> Result<Arc<dyn Engine>, Status> {
    checkpoint.engine.clone().ok_or_else(status::stopped)
}
