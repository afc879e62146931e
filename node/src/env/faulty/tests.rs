//! Each fault does what it says, no more and no less.

use std::collections::BTreeSet;

use super::*;

fn path() -> PathBuf {
    PathBuf::from("/d/f")
}

/// A disk with one durable file of 2 KiB of `a`.
fn disk(seed: u64) -> (FaultyDisk, Arc<dyn DiskFile>) {
    let disk = FaultyDisk::new(seed);
    disk.plant(&path(), &[b'a'; 2048]);
    let file = disk.open(&path(), OpenMode::ReadWrite).unwrap();
    (disk, file)
}

fn sectors(disk: &FaultyDisk) -> String {
    disk.contents(&path()).unwrap().chunks(512).map(|sector| char::from(sector[0])).collect()
}

#[test]
fn only_what_was_synced_survives() {
    let (disk, file) = disk(1);
    file.write_all_at(&[b'b'; 512], 0).unwrap();
    file.sync().unwrap();
    file.write_all_at(&[b'c'; 512], 512).unwrap();
    assert_eq!(sectors(&disk), "bcaa");
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(sectors(&disk), "baaa");
    assert!(file.read_exact_at(&mut [0; 1], 0).is_err(), "the handle is from before the crash");
}

#[test]
fn a_prefix_is_torn_at_a_sector_and_a_subset_is_any() {
    let outcome = |policy, seed| {
        let (disk, file) = disk(seed);
        file.write_all_at(&[b'b'; 1024], 0).unwrap();
        file.write_all_at(&[b'c'; 1024], 1024).unwrap();
        disk.crash(policy);
        sectors(&disk)
    };
    let prefixes: BTreeSet<String> = (0..100).map(|seed| outcome(CrashPolicy::KeepPrefix, seed)).collect();
    assert_eq!(prefixes, BTreeSet::from(["aaaa", "baaa", "bbaa", "bbca", "bbcc"].map(String::from)));
    let subsets: BTreeSet<String> = (0..400).map(|seed| outcome(CrashPolicy::KeepSubset, seed)).collect();
    assert_eq!(subsets.len(), 16);
    assert_eq!(outcome(CrashPolicy::KeepSubset, 9), outcome(CrashPolicy::KeepSubset, 9));
}

#[test]
fn names_need_a_sync_of_their_directory() {
    let (disk, file) = disk(1);
    let other = disk.open(Path::new("/d/new"), OpenMode::CreateNew).unwrap();
    other.write_all_at(b"x", 0).unwrap();
    other.sync().unwrap();
    disk.rename(&path(), Path::new("/d/g")).unwrap();
    drop(file);
    let unsynced = disk.copy(1);
    unsynced.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(unsynced.list(Path::new("/d")).unwrap(), ["f"]);
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.list(Path::new("/d")).unwrap(), ["g", "new"]);
}

#[test]
fn a_failed_sync_loses_what_the_cache_still_shows() {
    let (disk, file) = disk(1);
    file.write_all_at(&[b'b'; 512], 0).unwrap();
    disk.fail_next_sync();
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    assert_eq!(sectors(&disk), "baaa");
    disk.kill();
    assert_eq!(sectors(&disk), "baaa", "the cache outlives the process");
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(sectors(&disk), "aaaa");
}

#[test]
fn lost_and_misdirected_writes_show_after_a_crash() {
    let (disk, file) = disk(1);
    disk.lose_next_write(&path());
    file.write_all_at(&[b'b'; 512], 0).unwrap();
    disk.misdirect_next_write(&path(), 1536);
    file.write_all_at(&[b'c'; 512], 512).unwrap();
    file.sync().unwrap();
    assert_eq!(sectors(&disk), "bcaa");
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(sectors(&disk), "aaac");
}

#[test]
fn unreadable_sectors_come_back_when_written_as_a_whole() {
    let (disk, file) = disk(1);
    disk.fail_reads(&path(), 600..601);
    assert_eq!(file.read_exact_at(&mut [0; 1], 512).unwrap_err().raw_os_error(), Some(5));
    file.read_exact_at(&mut [0; 512], 0).unwrap();
    assert!(file.write_all_at(b"x", 600).is_err());
    file.write_all_at(&[b'b'; 512], 512).unwrap();
    file.read_exact_at(&mut [0; 2048], 0).unwrap();
}

#[test]
fn a_full_disk_refuses_to_grow_and_nothing_else() {
    let (disk, file) = disk(1);
    disk.set_capacity_bytes(2560);
    assert_eq!(disk.free_bytes(Path::new("/d")).unwrap(), 512);
    assert_eq!(file.write_all_at(&[0; 1024], 2048).unwrap_err().raw_os_error(), Some(28));
    file.write_all_at(&[b'b'; 512], 2048).unwrap();
    file.write_all_at(&[b'b'; 512], 0).unwrap();
    assert!(file.set_len(4096).is_err());
    disk.fail_writes(5);
    assert_eq!(file.write_all_at(b"x", 0).unwrap_err().raw_os_error(), Some(5));
    disk.heal();
    file.set_len(4096).unwrap();
}

#[test]
fn rot_strikes_both_sides() {
    let (disk, _file) = disk(1);
    disk.flip_bit(&path(), 0, 1);
    disk.zero(&path(), 512..1024);
    disk.junk(&path(), 1024..1536);
    disk.resize(&path(), 1536);
    let before = disk.contents(&path()).unwrap();
    disk.crash(CrashPolicy::LoseUnsynced);
    let after = disk.contents(&path()).unwrap();
    assert_eq!(before, after);
    assert_eq!((after[0], after[1], after[512], after.len()), (b'a' ^ 2, b'a', 0, 1536));
    assert_ne!(after[1024..1536], [b'a'; 512]);
    disk.delete(&path());
    assert_eq!(disk.contents(&path()), None);
}

#[test]
fn the_power_goes_after_so_many_changes() {
    let (disk, file) = disk(1);
    let before = disk.counters();
    disk.power_off_after(2);
    file.write_all_at(b"1", 0).unwrap();
    file.sync().unwrap();
    assert!(file.write_all_at(b"2", 0).is_err() && file.len().is_err() && disk.list(Path::new("/d")).is_err());
    disk.crash(CrashPolicy::LoseUnsynced);
    assert_eq!(disk.contents(&path()).unwrap()[0], b'1');
    let after = disk.counters();
    assert_eq!((after.syncs - before.syncs, after.bytes_written - before.bytes_written), (1, 1));
}

#[test]
fn a_name_does_not_outlive_its_directory() {
    for seed in 0..50 {
        let (disk, file) = disk(seed);
        drop(file);
        disk.remove_dir_all(Path::new("/d")).unwrap();
        disk.crash(CrashPolicy::KeepSubset);
        let found = disk.contents(&path()).is_some();
        assert!(!found || disk.exists(Path::new("/d")).unwrap(), "seed {seed}: a file without its directory");
    }
}
