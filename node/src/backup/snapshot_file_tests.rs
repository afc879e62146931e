//! What `etcd_file.rs` writes is read back: whole, and when it is not whole without a panic and without a guess. Files
//! of a real etcd are read by `jepsen-style-tests/tests/etcdctl`.

use holdfast_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest, CompactionRequest, DeleteRangeRequest,
    LeaseGrantRequest,
};
use holdfast_proto::log::AuthEnable;
use holdfast_proto::log::auth_change::Change;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::etcd_file::tests::State;
use super::super::restore::{ImportError, Imported, import};
use super::*;
use crate::env::FaultyDisk;
use crate::mvcc::tests::engine;
use crate::mvcc::{Horizon, hash_kv, sweep};
use crate::state::command;
use crate::storage::{Column, Engine, Scan};

const PATH: &str = "/saved.db";

fn put_file(bytes: &[u8]) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let file = disk.open(Path::new(PATH), OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    disk
}

fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

fn open(bytes: &[u8], check: DigestCheck) -> Result<SnapshotFile, SnapshotError> {
    SnapshotFile::open(&put_file(bytes), Path::new(PATH), check)
}

fn restored(bytes: &[u8], bump: Option<u64>) -> (Arc<dyn Engine>, Result<Imported, ImportError>) {
    let engine = engine();
    let imported = import(&open(bytes, DigestCheck::Required).unwrap(), engine.as_ref(), bump);
    (engine, imported)
}

fn rows(engine: &dyn Engine, column: Column) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let all = Scan { from: &[], to: None, backwards: false };
    let visit = &mut |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    engine.view().scan(column, all, visit).unwrap();
    rows
}

/// Leases, tombstones, a transaction's worth of keys, zero bytes, users, and a compaction that the disk has not
/// followed.
fn lived_in() -> State {
    let mut state = State::new();
    state.command(command::lease_grant(LeaseGrantRequest { ttl: 60, id: 7 }, std::time::Duration::ZERO));
    state.command(command::lease_grant(LeaseGrantRequest { ttl: 70, id: -8 }, std::time::Duration::ZERO));
    for round in 0..3 {
        for number in 0..40 {
            state.put(&format!("key/{number}"), format!("{round}").as_bytes(), if number == 3 { 7 } else { 0 });
        }
    }
    state.put("a\0b", b"zero", -8);
    state.put("moved", b"1", 7);
    state.put("moved", b"2", 0);
    let key = |key: &'static str, end: &'static str| DeleteRangeRequest {
        key: key.into(),
        range_end: end.into(),
        ..DeleteRangeRequest::default()
    };
    state.command(command::delete_range(key("key/1", "key/2")));
    state.put("key/11", b"again", 0);
    state.command(command::compact(CompactionRequest { revision: 60, physical: false }));
    for change in [
        Change::RoleAdd(AuthRoleAddRequest { name: "root".to_owned() }),
        Change::UserAdd(AuthUserAddRequest {
            name: "root".to_owned(),
            hashed_password: "hash".to_owned(),
            ..AuthUserAddRequest::default()
        }),
        Change::UserGrantRole(AuthUserGrantRoleRequest { user: "root".to_owned(), role: "root".to_owned() }),
        Change::Enable(AuthEnable { token_secret: vec![1; 32].into() }),
    ] {
        state.command(command::auth_change(change));
    }
    state
}

#[test]
fn a_state_comes_back_row_by_row_but_for_its_secret() {
    let state = lived_in();
    let bytes = with_digest(state.file().1);
    let (back, imported) = restored(&bytes, None);
    assert_eq!(imported.unwrap(), Imported { revision: 126, keys: 32, leases: 2 });
    for column in [Column::Current, Column::History, Column::Versions, Column::Lease, Column::LeaseKey] {
        assert_eq!(rows(back.as_ref(), column), rows(state.engine.as_ref(), column), "{column:?}");
    }
    assert_eq!(Horizon::load(&*back.view()).unwrap(), Horizon::load(&*state.engine.view()).unwrap());
    let auth = crate::auth::AuthState::load(&*back.view()).unwrap();
    assert_eq!((auth.is_enabled, auth.revision, auth.token_secret.len()), (true, 4, 0));
    let names = |engine: &dyn Engine| rows(engine, Column::Auth).into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(names(back.as_ref()), names(state.engine.as_ref()));
    assert_eq!(crate::auth::user(&*back.view(), "root").unwrap().unwrap().fields.password, "hash");
}

/// Then the versions that events replaced are gone, and the state says the same all the same.
#[test]
fn what_a_compaction_took_is_not_missed() {
    let state = lived_in();
    loop {
        let step = sweep(&*state.engine.view(), 10).unwrap();
        state.engine.write(step.batch).unwrap();
        if step.done {
            break;
        }
    }
    let (back, imported) = restored(&with_digest(state.file().1), None);
    imported.unwrap();
    for revision in 60..=126 {
        let hash = |engine: &dyn Engine| hash_kv(&*engine.view(), Revision(revision)).unwrap();
        assert_eq!(hash(back.as_ref()), hash(state.engine.as_ref()), "at revision {revision}");
    }
    // What is left of the compaction is done again, and takes nothing that is needed.
    let before = hash_kv(&*back.view(), Revision(126)).unwrap();
    let step = sweep(&*back.view(), usize::MAX).unwrap();
    back.write(step.batch).unwrap();
    assert_eq!(hash_kv(&*back.view(), Revision(126)).unwrap(), before);
}

#[test]
fn a_raised_revision_has_no_history() {
    let state = lived_in();
    let bytes = with_digest(state.file().1);
    let (back, imported) = restored(&bytes, Some(1_000_000));
    assert_eq!(imported.unwrap().revision, 1_000_126);
    let horizon = Horizon::load(&*back.view()).unwrap();
    assert_eq!((horizon.revision, horizon.compacted), (Revision(1_000_126), Some(Revision(1_000_126))));
    let (_, refused) = restored(&bytes, Some(u64::MAX));
    assert!(matches!(refused, Err(ImportError::BumpTooFar { .. })), "{refused:?}");
}

#[test]
fn a_tree_of_several_levels_is_read() {
    let mut state = State::new();
    for number in 0..400 {
        state.put(&format!("{number}"), &[b'v'; 4_000], 0);
    }
    state.put("large", &[b'v'; 600_000], 0);
    let bytes = with_digest(state.file().1);
    let (back, imported) = restored(&bytes, None);
    assert_eq!(imported.unwrap(), Imported { revision: 402, keys: 401, leases: 0 });
    assert_eq!(rows(back.as_ref(), Column::History), rows(state.engine.as_ref(), Column::History));
    let summary = open(&bytes, DigestCheck::Required).unwrap().summary().unwrap();
    assert_eq!((summary.revision, summary.bytes), (Revision(402), bytes.len() as u64 - 32));
    // The keys, two entries of auth, the cluster's version, and two of meta.
    assert_eq!(summary.entries, 401 + 2 + 1 + 2);
}

#[test]
fn what_is_cut_off_or_changed_is_refused_in_words() {
    let bytes = with_digest(lived_in().file().1);
    let refused = |bytes: &[u8], check: DigestCheck| open(bytes, check).unwrap_err();
    assert!(matches!(refused(&bytes[..bytes.len() - 1], DigestCheck::Required), SnapshotError::Cut { .. }));
    let database = &bytes[..bytes.len() - 32];
    assert!(matches!(refused(database, DigestCheck::Required), SnapshotError::NoDigest { .. }));
    assert!(open(database, DigestCheck::Skipped).is_ok());
    let short = &bytes[..bytes.len() - 32 - 4096];
    let said = refused(short, DigestCheck::Skipped).to_string();
    assert!(said.contains("/saved.db") && said.contains("ends early"), "{said}");
    for at in [5_000, 40_000, bytes.len() - 40, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(matches!(refused(&changed, DigestCheck::Required), SnapshotError::WrongDigest { .. }), "byte {at}");
    }
    for other in [vec![], vec![0; 512 + 32], b"#!/bin/sh\n".repeat(512)] {
        let said = refused(&other, DigestCheck::Skipped).to_string();
        assert!(said.contains("no database of etcd's"), "{said}");
    }
}

/// Damage that nobody vouched for: an error or other entries, but no panic and no end of memory.
#[test]
fn a_damaged_tree_does_no_harm() {
    let bytes = lived_in().file().1;
    let mut refused = 0;
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[at] ^= 0xFF;
        let disk = put_file(&changed);
        let read = SnapshotFile::open(&disk, Path::new(PATH), DigestCheck::Skipped).and_then(|file| {
            file.events::<SnapshotError>(&mut |_| Ok(()))?;
            file.leases()?;
            file.auth()?;
            file.users()?;
            file.roles()?;
            file.compacted()?;
            file.summary()
        });
        refused += usize::from(read.is_err());
    }
    assert!(refused > 30, "{refused} were noticed");
}

/// The check value that every table of CRCs has for this one.
#[test]
fn the_sum_is_castagnolis() {
    let mut crc = Crc32c::new();
    crc.add(b"1234");
    crc.add(b"56789");
    assert_eq!(crc.sum(), 0xE306_9283);
}
