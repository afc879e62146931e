//! The state machine as openraft sees it: entries in, snapshots out and in.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;

use super::applier::{Applier, Commit};
use super::snapshot::SnapshotFiles;
use super::types::{Applied, RaftEntry, RaftLogId, SnapshotMeta, StoredMembership, TypeConfig};
use super::wire;
use crate::env::{Disk, planted, sometimes};
use crate::metrics::DiskMetrics;
use crate::rt;
use crate::storage::CheckpointError;

/// Entries applied by one engine write.
const APPLY_ENTRIES_MAX: usize = 256;

/// Entries up to this size are applied on the async thread, if the engine need not wait.
const APPLY_INLINE_BYTES_MAX: usize = 64 * 1024;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFiles>;

/// A handle to the state. Clones share it.
#[derive(Clone)]
pub struct Machine {
    applier: Arc<Applier>,
    disk: Arc<dyn Disk>,
    snapshots: Arc<Mutex<Snapshots>>,
    metrics: DiskMetrics,
}

/// Checkpoints on disk.
/// What takes longer to apply counts as slow, as with etcd's warning.
const SLOW_APPLY_S: f64 = 0.1;

#[derive(Default)]
struct Snapshots {
    newest: Option<Snapshot>,
    /// Superseded, but perhaps still being sent.
    retired: Vec<Snapshot>,
}

impl Machine {
    pub fn new(applier: Arc<Applier>, disk: Arc<dyn Disk>, metrics: DiskMetrics) -> Self {
        Self { applier, disk, snapshots: Arc::new(Mutex::new(Snapshots::default())), metrics }
    }

    /// Whatever goes wrong with the state ends the node: a replica that skipped an entry is no replica.
    fn or_halt<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.applier.halt.now(&format!("{what}: {error}"));
        }
        result
    }

    async fn apply_chunk(&self, chunk: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let (entries, responders): (Vec<_>, Vec<_>) = chunk.into_iter().unzip();
        let begun = rt::now();
        let applied = self.apply_entries(entries).await;
        let seconds = rt::since(begun).as_secs_f64();
        self.metrics.backend_commit.observe(seconds);
        let of_state = &self.applier.tally.metrics;
        of_state.apply.observe(seconds);
        if seconds > SLOW_APPLY_S {
            of_state.slow_applies.inc();
        }
        let applied = self.or_halt("committed entries could not be applied", applied)?;
        for (responder, applied) in responders.into_iter().zip(applied) {
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    /// A little work is done where it stands: a hop to another thread and back costs more than it. The engine says when
    /// it would have to wait for the disk, and then the hop is taken.
    async fn apply_entries(&self, entries: Vec<RaftEntry>) -> io::Result<Vec<Applied>> {
        let applier = Arc::clone(&self.applier);
        if entries.iter().map(bytes_of).sum::<usize>() > APPLY_INLINE_BYTES_MAX {
            return rt::blocking(move || applier.commit(applier.prepare(entries)?)).await?;
        }
        match applier.commit_now(applier.prepare(entries)?)? {
            Commit::Done(applied) => Ok(applied),
            Commit::WouldWait(prepared) => rt::blocking(move || applier.commit(*prepared)).await?,
        }
    }

    /// Removes checkpoints that nobody sends any more.
    fn sweep_retired(&self) {
        let mut snapshots = self.snapshots.lock();
        let (busy, idle): (Vec<_>, Vec<_>) =
            std::mem::take(&mut snapshots.retired).into_iter().partition(|snapshot| snapshot.snapshot.is_in_use());
        snapshots.retired = busy;
        drop(snapshots);
        for snapshot in idle {
            let dir = &snapshot.snapshot.dir;
            let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
            if let Err(error) = self.applier.store.remove_checkpoint(name) {
                tracing::warn!(dir = %dir.display(), %error, "a superseded checkpoint could not be removed");
            }
        }
    }

    /// Makes a checkpoint of the state as it is now. What the log may forget from then on is durable in the live state
    /// as well.
    fn checkpoint(&self) -> io::Result<Snapshot> {
        // Most of the flushing is done while entries go on being applied; only the rest holds them up.
        if !planted!(LogPurgedBeforeFlush) {
            self.applier.store.engine().flush().map_err(io::Error::other)?;
        }
        let _standing_still = self.applier.changing.lock();
        self.checkpoint_standing_still()
    }

    /// The position and the files must be of the same moment.
    fn checkpoint_standing_still(&self) -> io::Result<Snapshot> {
        if !planted!(LogPurgedBeforeFlush) {
            self.applier.store.engine().flush().map_err(io::Error::other)?;
        }
        let (applied, last_membership) = self.applier.position()?;
        let name = match applied {
            Some(applied) => format!("{:020}-{:020}", applied.term, applied.index),
            None => "empty".to_owned(),
        };
        let store = &self.applier.store;
        let files = match store.checkpoint_files(&name) {
            // Made before a restart, at the same place in the log.
            Err(CheckpointError::Exists { .. }) => {
                store.remove_checkpoint(&name).map_err(io::Error::other)?;
                store.checkpoint_files(&name)
            }
            made => made,
        }
        .map_err(io::Error::other)?;
        let dir = store.checkpoint_dir(&name).map_err(io::Error::other)?;
        let snapshot = Snapshot {
            meta: SnapshotMeta { last_log_id: applied.map(wire::raft_log_id), last_membership },
            snapshot: SnapshotFiles::new(Arc::clone(&self.disk), dir, files),
        };
        let mut snapshots = self.snapshots.lock();
        if let Some(old) = snapshots.newest.replace(snapshot.clone())
            && old.snapshot.dir != snapshot.snapshot.dir
        {
            snapshots.retired.push(old);
        }
        drop(snapshots);
        self.sweep_retired();
        Ok(snapshot)
    }

    fn install(&self, dir: &Path) -> io::Result<()> {
        let _standing_still = self.applier.changing.lock();
        sometimes!(SnapshotInstalled);
        self.applier.store.install(dir).map_err(io::Error::other)?;
        self.applier.state_replaced()?;
        // The log was purged up to here: this member must be able to send what it just received.
        self.checkpoint_standing_still().map(drop)
    }

    /// Removes the checkpoints of earlier runs: openraft asks for a new one if it needs one.
    pub fn remove_old_checkpoints(&self) -> io::Result<()> {
        let store = &self.applier.store;
        for name in store.list_checkpoints().map_err(io::Error::other)? {
            store.remove_checkpoint(&name).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn bytes_of(entry: &RaftEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => batch.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotFiles;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let builder = self.clone();
        let begun = rt::now();
        let built = rt::blocking(move || builder.checkpoint()).await?;
        self.metrics.checkpoint.observe(rt::since(begun).as_secs_f64());
        self.or_halt("a checkpoint could not be made", built)
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFiles;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let (applied, membership) = self.applier.position()?;
        Ok((applied.map(wire::raft_log_id), membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        // Everything that is there already goes into one write.
        while let Some(first) = entries.next().await {
            let mut chunk = vec![self.or_halt("a committed entry could not be read", first)?];
            while chunk.len() < APPLY_ENTRIES_MAX {
                match entries.next().now_or_never() {
                    Some(Some(next)) => chunk.push(self.or_halt("a committed entry could not be read", next)?),
                    Some(None) | None => break,
                }
            }
            self.apply_chunk(chunk).await?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Self> {
        // A state held before a hole is not what openraft believes it to be, once it runs. While it starts (`force`)
        // it is.
        (force || self.applier.first_hole().is_none()).then(|| self.clone())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFiles) -> io::Result<()> {
        tracing::info!(upto = ?meta.last_log_id, dir = %snapshot.dir.display(), "installing a snapshot");
        let installer = self.clone();
        let installed = rt::blocking(move || installer.install(&snapshot.dir)).await?;
        self.or_halt("a snapshot could not be installed", installed)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshots.lock().newest.clone())
    }
}
