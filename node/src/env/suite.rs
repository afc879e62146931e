//! One suite over both disks: what the node may rely on, whichever it was given.

use std::io::ErrorKind;
use std::path::Path;

use super::{Disk, FaultyDisk, OpenMode, RealDisk};

fn on_both(story: fn(&dyn Disk, &Path)) {
    let temporary = tempfile::tempdir().unwrap();
    story(&RealDisk, temporary.path());
    let faulty = FaultyDisk::new(1);
    faulty.create_dir_all(Path::new("/data")).unwrap();
    story(&faulty, Path::new("/data"));
}

fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn bytes_are_where_they_were_written() {
    on_both(|disk, dir| {
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"world", 600).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 605);
        let bytes = read(disk, &dir.join("f"));
        assert_eq!((&bytes[..5], &bytes[5..600], &bytes[600..]), (&b"hello"[..], &[0; 595][..], &b"world"[..]));
        let past = file.read_exact_at(&mut [0; 6], 600).unwrap_err();
        assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn lengths_are_cut_and_grown() {
    on_both(|disk, dir| {
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"abcdef", 0).unwrap();
        file.set_len(3).unwrap();
        file.set_len(5).unwrap();
        assert_eq!(read(disk, &dir.join("f")), b"abc\0\0");
    });
}

#[test]
fn open_modes_are_kept() {
    on_both(|disk, dir| {
        let path = dir.join("f");
        assert_eq!(disk.open(&path, OpenMode::Read).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.open(&path, OpenMode::ReadWrite).unwrap_err().kind(), ErrorKind::NotFound);
        disk.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(disk.open(&path, OpenMode::CreateNew).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(disk.open(&path, OpenMode::Read).unwrap().write_all_at(b"x", 0).is_err());
        disk.open(&path, OpenMode::ReadWrite).unwrap().write_all_at(b"x", 0).unwrap();
        let nowhere = disk.open(&dir.join("no/f"), OpenMode::CreateNew).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn names_are_listed_sorted_renamed_and_removed() {
    on_both(|disk, dir| {
        for name in ["b", "a", "c"] {
            disk.open(&dir.join(name), OpenMode::CreateNew).unwrap().write_all_at(name.as_bytes(), 0).unwrap();
        }
        disk.create_dir_all(&dir.join("d/e")).unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["a", "b", "c", "d"]);
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        disk.remove_file(&dir.join("c")).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["b", "d"]);
        assert_eq!(read(disk, &dir.join("b")), b"a");
        assert!(disk.exists(&dir.join("d/e")).unwrap() && !disk.exists(&dir.join("c")).unwrap());
        disk.open(&dir.join("d/e/f"), OpenMode::CreateNew).unwrap();
        disk.remove_dir_all(&dir.join("d")).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["b"]);
        assert_eq!(disk.remove_file(&dir.join("c")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.list(&dir.join("d")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_directory_is_renamed_with_what_is_in_it() {
    on_both(|disk, dir| {
        disk.create_dir_all(&dir.join("old/inner")).unwrap();
        disk.open(&dir.join("old/inner/f"), OpenMode::CreateNew).unwrap().write_all_at(b"moved", 0).unwrap();
        disk.rename(&dir.join("old"), &dir.join("new")).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["new"]);
        assert_eq!(read(disk, &dir.join("new/inner/f")), b"moved");
    });
}

#[test]
fn a_removed_file_lives_on_in_its_handles() {
    on_both(|disk, dir| {
        let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        file.write_all_at(b"still here", 0).unwrap();
        disk.remove_file(&dir.join("f")).unwrap();
        disk.sync_dir(dir).unwrap();
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"still here");
    });
}

#[test]
fn a_lock_has_one_holder() {
    on_both(|disk, dir| {
        let path = dir.join("LOCK");
        let held = disk.lock(&path).unwrap();
        assert_eq!(disk.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        disk.lock(&dir.join("OTHER")).unwrap();
        drop(held);
        disk.lock(&path).unwrap();
    });
}

#[test]
fn there_is_some_room() {
    on_both(|disk, dir| assert!(disk.free_bytes(dir).unwrap() > 0));
}
