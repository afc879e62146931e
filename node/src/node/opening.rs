//! What is on disk: who this node is, its log, its state.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::founding::Founder;
use super::front::{Front, waiting_peer};
use super::identity::Identity;
use super::{StartError, bootstrap, founding, restored};
use crate::api;
use crate::auth;
use crate::env::{Disk, DiskLock, sometimes};
use crate::io::Io;
use crate::lease::LeaseTable;
use crate::mvcc;
use crate::raft::{Founding, Incarnation, Member};
use crate::rt;
use crate::settings::{ClusterState, Settings};
use crate::state;
use crate::storage::Store;
use crate::types::{LogId, Revision};
use crate::wal::{self, Hole, Log, Origin};

/// Who this node is, and whom it founds a cluster with if it does.
pub struct Who {
    pub identity: Identity,
    pub first_members: Option<BTreeMap<u64, Member>>,
    pub founding: Arc<Founding>,
}

/// Takes the directories for this process alone. Nothing in them is read, let alone repaired, before that. The locks
/// hold as long as the values live.
pub async fn lock_directories(settings: &Settings, io: &Io) -> Result<Vec<Arc<dyn DiskLock>>, StartError> {
    let disk = Arc::clone(&io.disk);
    let mut dirs = vec![settings.data_dir.clone(), settings.wal_dir.clone()];
    dirs.dedup();
    blocking_disk(move || {
        refuse_etcds(disk.as_ref(), &dirs[0])?;
        dirs.iter().map(|dir| lock(disk.as_ref(), dir)).collect()
    })
    .await
}

/// To start empty in the place of an etcd that has keys would look like their loss.
fn refuse_etcds(disk: &dyn Disk, data_dir: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Directory { path: data_dir.to_owned(), source };
    let is_etcds = disk.exists(&data_dir.join("member").join("snap")).map_err(failed)?;
    if is_etcds && !Identity::is_there(disk, data_dir).map_err(failed)? {
        return Err(StartError::OfEtcd { dir: data_dir.to_owned() });
    }
    Ok(())
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn DiskLock>, StartError> {
    let failed = |source| StartError::Directory { path: dir.to_owned(), source };
    disk.create_dir_all(dir).map_err(failed)?;
    disk.lock(&dir.join(wal::LOCK_NAME)).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => StartError::InUse { dir: dir.to_owned() },
        _ => failed(source),
    })
}

/// What is to be started, where the directory was made by a restore.
pub async fn taken_up(settings: Settings, io: &Io) -> Result<Settings, StartError> {
    let disk = Arc::clone(&io.disk);
    blocking_disk(move || restored::take_up(settings, disk.as_ref())).await
}

/// Reads who this node is; where that is not decided yet, finds out. A founder may have to wait for others; `front`
/// answers them meanwhile.
pub async fn who_am_i(settings: &Settings, io: &Io, tls: &rt::PeerTls, front: &Front) -> Result<Who, StartError> {
    let (disk, data_dir) = (Arc::clone(&io.disk), settings.data_dir.clone());
    let known = blocking_disk(move || Ok(Identity::load(disk.as_ref(), &data_dir)?)).await?;
    if let Some(identity) = known {
        bootstrap::check_known(settings, &identity)?;
        let founding = founding_of(settings, io, &identity, None).await?;
        return Ok(who(settings, identity, founding));
    }
    let (identity, founding) = match settings.initial_cluster_state {
        ClusterState::Existing => {
            let identity = bootstrap::join(settings, tls).await?;
            let founding = founding_of(settings, io, &identity, None).await?;
            (identity, founding)
        }
        ClusterState::New => {
            let identity = bootstrap::as_founder(settings);
            // Zero stands for none.
            let drawn = Incarnation(rt::random_u64().max(1));
            let founding = founding_of(settings, io, &identity, Some(drawn)).await?;
            front.replace(waiting_peer(Arc::clone(&founding), &identity));
            founding::wait_until_it_may_start(settings, tls, &Founder::of(settings, &founding, &identity)).await?;
            (identity, founding)
        }
    };
    let (disk, data_dir, to_store) = (Arc::clone(&io.disk), settings.data_dir.clone(), identity.clone());
    blocking_disk(move || Ok(to_store.store(disk.as_ref(), &data_dir)?)).await?;
    Ok(who(settings, identity, founding))
}

fn who(settings: &Settings, identity: Identity, founding: Arc<Founding>) -> Who {
    let first_members = bootstrap::first_members(settings, &identity);
    Who { identity, first_members, founding }
}

/// What this node remembers of the founding. `drawn` is given by one that wants to take part in it.
async fn founding_of(
    settings: &Settings,
    io: &Io,
    identity: &Identity,
    drawn: Option<Incarnation>,
) -> Result<Arc<Founding>, StartError> {
    let (disk, data_dir, me) = (Arc::clone(&io.disk), settings.data_dir.clone(), identity.member);
    blocking_disk(move || {
        let founding = match drawn {
            Some(drawn) => Founding::begin(disk, &data_dir, me, drawn),
            None => Founding::load(disk, &data_dir, me),
        };
        founding.map(Arc::new).map_err(|source| StartError::Founding { path: data_dir.join("FOUNDING"), source })
    })
    .await
}

async fn blocking_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    rt::blocking(work)
        .await
        .map_err(|source| StartError::Directory { path: std::path::PathBuf::new(), source })
        .and_then(|done| done)
}

/// What was found on disk.
pub struct OpenedAll {
    pub log: Log,
    pub holes: Vec<LogId>,
    pub store: Arc<Store>,
    pub leases: LeaseTable,
    pub revision: Revision,
    pub auth: Arc<auth::Live>,
    pub applied: Option<LogId>,
}

/// Rotten entries that the state covers, and those that it does not.
///
/// The first need not be read by this member any more. But a follower may lack them, and the leader would find out when
/// it has to send them. So the log is made to begin behind the newest of them: whoever lacks it is given a snapshot.
fn sorted_holes(holes: &[Hole], applied: Option<LogId>) -> (Vec<LogId>, Vec<LogId>) {
    let holes = holes.iter().copied().map(Hole::log_id);
    holes.partition(|hole| applied.is_some_and(|applied| hole.index <= applied.index))
}

fn report(covered: &[LogId], holes: &[LogId]) {
    if let Some(newest) = covered.last() {
        sometimes!(CoveredRotPurged);
        tracing::error!(
            entries = covered.len(),
            %newest,
            "the Raft log had rotten entries that the state covers: it begins behind them now, and members that lack \
             them are given a snapshot; check the disk"
        );
    }
    if let Some(first) = holes.first() {
        tracing::error!(
            holes = holes.len(),
            %first,
            "the Raft log has rotten entries: this node votes but does not lead, and applies nothing from the first of \
             them on; see docs/OPERATIONS.md, \"repairing(log)\""
        );
    }
}

pub async fn open_all(settings: &Settings, io: &Io, who: &Who) -> Result<OpenedAll, StartError> {
    let (settings, io) = (settings.clone(), io.clone());
    let identity = wal::Identity { cluster: who.identity.cluster, member: who.identity.member };
    blocking_disk(move || {
        let in_log = |source| StartError::Log { dir: settings.wal_dir.clone(), source };
        let (log, found) =
            Log::open(Arc::clone(&io.disk), &settings.wal_dir, settings.log.clone(), identity).map_err(in_log)?;
        for repaired in &found.repaired {
            tracing::warn!(dir = %settings.wal_dir.display(), "the Raft log: {repaired}");
        }
        let in_state = |source| StartError::State { dir: settings.data_dir.clone(), source };
        let in_reading = |source| StartError::Reading { dir: settings.data_dir.clone(), source };
        let store = Store::open(Arc::clone(&io.engines), Arc::clone(&io.disk), &settings.data_dir).map_err(in_state)?;
        api::remove_leftover_checkpoints(&store).map_err(in_state)?;
        let engine = store.engine();
        let view = engine.view();
        let applied = state::applied(view.as_ref()).map_err(in_state)?;
        let had_log = Identity::had_log(io.disk.as_ref(), &settings.data_dir)?;
        let begins_restored = !had_log
            && applied == Some(restored::BASE)
            && (found.last, found.purged) == (None, None)
            && restored::is_restored(io.disk.as_ref(), &settings.data_dir)
                .map_err(|source| StartError::Directory { path: settings.data_dir.clone(), source })?;
        if begins_restored {
            // As behind a snapshot: what the state holds never was in this log.
            let in_purge = |source| StartError::Restored { dir: settings.wal_dir.clone(), source };
            log.purge(restored::BASE).map_err(in_purge)?;
        } else if found.origin == Origin::Created && (had_log || applied.is_some()) {
            return Err(StartError::LogLost { dir: settings.wal_dir.clone(), data_dir: settings.data_dir.clone() });
        }
        Identity::note_log(io.disk.as_ref(), &settings.data_dir)?;
        if let Some(purged) = found.purged
            && applied.is_none_or(|applied| applied.index < purged.index)
        {
            return Err(StartError::StateBehindLog { dir: settings.data_dir.clone(), purged, applied });
        }
        if found.last.map(|last| last.index) > applied.map(|applied| applied.index) {
            sometimes!(StateFlushedLate);
        }
        let leases = LeaseTable::load(view.as_ref()).map_err(in_state)?;
        let revision = mvcc::revision(view.as_ref()).map_err(in_reading)?;
        let auth = Arc::new(auth::Live::new(&auth::AuthState::load(view.as_ref()).map_err(in_state)?));
        drop(view);
        let (covered, holes) = sorted_holes(&found.holes, applied);
        if let Some(newest) = covered.last() {
            // Before the log forgets what led to it.
            store.engine().flush().map_err(in_state)?;
            let in_log = |source| StartError::RottenLog { dir: settings.wal_dir.clone(), source };
            log.purge(*newest).map_err(in_log)?;
        }
        report(&covered, &holes);
        Ok(OpenedAll { log, holes, store: Arc::new(store), leases, revision, auth, applied })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rot_is_sorted_by_what_the_state_covers() {
        let at = |index| LogId { term: 1, index };
        let holes = [0, 3, 5, 6].map(|index| Hole { term: 1, index });
        assert_eq!(sorted_holes(&holes, None), (vec![], vec![at(0), at(3), at(5), at(6)]));
        assert_eq!(sorted_holes(&holes, Some(at(0))), (vec![at(0)], vec![at(3), at(5), at(6)]));
        assert_eq!(sorted_holes(&holes, Some(at(5))), (vec![at(0), at(3), at(5)], vec![at(6)]));
    }
}
