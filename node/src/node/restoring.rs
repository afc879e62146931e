//! `snapshot restore`: a data directory for one member of a new cluster, made out of the file of a snapshot.
//!
//! ```text
//!   <data dir>.restoring/state/...    the rows of the snapshot, and the new cluster's membership, at BASE
//!   <data dir>.restoring/RESTORED     which cluster this is for (restored.rs)
//!   <data dir>.restoring  ->  <data dir>     one rename: it is all there, or nothing is
//! ```
//!
//! Every member of the new cluster restores from the same file, and then starts as a founder does: the founders ask one
//! another first (`founding.rs`), so a directory that is restored once more after the cluster ran is refused like any
//! other disk that was lost. See decisions/0015.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_proto::peer::{MemberInfo, Membership, VoterSet};

use super::restored::{BASE, FILE, Restored};
use crate::backup::{DigestCheck, ImportError, Imported, SnapshotError, SnapshotFile, import};
use crate::env::{Disk, OpenMode};
use crate::io::Io;
use crate::state::{self, ApplyError, EntryPayload, Machine};
use crate::storage::{EngineError, Store};
use crate::types::{ClusterId, MemberId, cluster_id_of, member_id_of};

/// What to restore, and for whom.
#[derive(Clone, Debug)]
pub struct Restore {
    pub file: PathBuf,
    pub check: DigestCheck,
    pub data_dir: PathBuf,
    pub name: String,
    pub initial_cluster: BTreeMap<String, Vec<String>>,
    pub token: String,
    /// Revisions to be skipped; all history before is given up.
    pub bump: Option<u64>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub imported: Imported,
    pub cluster: ClusterId,
    pub member: MemberId,
}

/// Why nothing was restored. Nothing that was there has changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("{0}")]
    Import(#[from] ImportError),
    #[error(
        "{dir} is not empty: a restore makes a new directory, and takes nothing away; name another one with \
         --data-dir, or move this one out of the way"
    )]
    NotEmpty { dir: PathBuf },
    #[error("{dir} was left behind by a restore that did not end, or is being written: remove it if nothing runs")]
    LeftOver { dir: PathBuf },
    #[error("--initial-cluster does not name {name:?}, the member to restore: it has {}", known.join(", "))]
    NotAMember { name: String, known: Vec<String> },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the new state: {0}")]
    Engine(#[from] EngineError),
    #[error("the new state: {0}")]
    Apply(#[from] ApplyError),
}

pub fn restore(io: &Io, plan: &Restore) -> Result<Done, RestoreError> {
    let disk = io.disk.as_ref();
    let in_dir = |source| RestoreError::Io { path: plan.data_dir.clone(), source };
    if !plan.initial_cluster.contains_key(&plan.name) {
        let known = plan.initial_cluster.keys().cloned().collect();
        return Err(RestoreError::NotAMember { name: plan.name.clone(), known });
    }
    let is_there = disk.exists(&plan.data_dir).map_err(in_dir)?;
    if is_there && !disk.list(&plan.data_dir).map_err(in_dir)?.is_empty() {
        return Err(RestoreError::NotEmpty { dir: plan.data_dir.clone() });
    }
    let unfinished = beside(&plan.data_dir);
    if disk.exists(&unfinished).map_err(in_dir)? {
        return Err(RestoreError::LeftOver { dir: unfinished });
    }
    // All that can be wrong with the file's outside is found before anything is written.
    let snapshot = SnapshotFile::open(disk, &plan.file, plan.check)?;
    let restored = restored(plan, &snapshot);
    let filled = fill(io, plan, &snapshot, &restored, &unfinished).and_then(|done| {
        disk.rename(&unfinished, &plan.data_dir).map_err(in_dir)?;
        disk.sync_dir(parent(&plan.data_dir)).map_err(in_dir)?;
        Ok(done)
    });
    if filled.is_err() {
        // What stopped the restore is the better message.
        let _ = disk.remove_dir_all(&unfinished);
    }
    filled
}

/// Everything, in a directory of its own.
fn fill(
    io: &Io,
    plan: &Restore,
    snapshot: &SnapshotFile,
    restored: &Restored,
    dir: &Path,
) -> Result<Done, RestoreError> {
    let store = Store::open(io.engines.clone(), io.disk.clone(), dir)?;
    let engine = store.engine();
    let imported = import(snapshot, engine.as_ref(), plan.bump)?;
    let membership = membership(restored);
    let ids: Vec<MemberId> = membership.members.iter().map(|member| MemberId(member.id)).collect();
    let founding = state::Entry { log_id: BASE, payload: EntryPayload::Membership(membership) };
    let effects = {
        let view = engine.view();
        Machine.apply(view.as_ref(), &[founding])?
    };
    engine.write(effects.batch)?;
    engine.flush()?;
    // Closed before the directory gets its name.
    drop(engine);
    drop(store);
    let path = dir.join(FILE);
    write(io.disk.as_ref(), dir, &restored.encode()).map_err(|source| RestoreError::Io { path, source })?;
    let own = restored.members.get(&restored.name).cloned().unwrap_or_default();
    let member = member_id_of(&own, &restored.token, None);
    Ok(Done { imported, cluster: cluster_id_of(&ids), member })
}

fn restored(plan: &Restore, snapshot: &SnapshotFile) -> Restored {
    let digest: String = snapshot.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let bump = plan.bump.map_or(String::new(), |by| format!("+{by}"));
    Restored {
        name: plan.name.clone(),
        token: format!("{}@{digest}{bump}", plan.token),
        members: plan.initial_cluster.clone(),
    }
}

/// As the founders of a cluster compute it.
fn membership(restored: &Restored) -> Membership {
    let mut members: Vec<MemberInfo> = restored
        .members
        .iter()
        .map(|(name, urls)| MemberInfo {
            id: member_id_of(urls, &restored.token, None).0,
            name: name.clone(),
            peer_urls: urls.clone(),
            ..MemberInfo::default()
        })
        .collect();
    members.sort_by_key(|member| member.id);
    let member_ids = members.iter().map(|member| member.id).collect();
    Membership { configs: vec![VoterSet { member_ids }], members }
}

fn write(disk: &dyn Disk, dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(&dir.join(FILE), OpenMode::CreateNew)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    disk.sync_dir(dir)
}

fn beside(dir: &Path) -> PathBuf {
    let mut name: OsString = dir.as_os_str().to_owned();
    name.push(".restoring");
    PathBuf::from(name)
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
