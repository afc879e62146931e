//! A bit of a value flips on a real etcd's disk, behind its back.
//!
//! etcd keeps its state in one file, a tree of pages (bbolt). Only the pages that head it have checksums; a value is
//! handed to readers as it is found. Holdfast's files are another matter, and another suite's subject.

use std::io;
use std::path::Path;

/// Flips one bit of every value that a key with this prefix has or had, and says how many there were.
pub(super) fn flip_values(db: &Path, prefix: &[u8]) -> io::Result<usize> {
    let mut bytes = std::fs::read(db)?;
    let places: Vec<usize> =
        (0..bytes.len()).filter_map(|at| value_end(&bytes[at..], prefix).map(|end| at + end)).collect();
    for last in &places {
        // The lowest bit of the last byte: a number becomes its neighbour.
        bytes[*last] ^= 1;
    }
    std::fs::write(db, &bytes)?;
    Ok(places.len())
}

/// Where the value ends of the `mvccpb.KeyValue` that begins here, if one does: key (field 1), three numbers (create
/// revision, modification revision, version), value (field 5).
fn value_end(bytes: &[u8], prefix: &[u8]) -> Option<usize> {
    let mut at = 0;
    let key_length = length(bytes, &mut at, 0x0a)?;
    let key = bytes.get(at..at + key_length)?;
    if !key.starts_with(prefix) {
        return None;
    }
    at += key_length;
    for tag in [0x10, 0x18, 0x20] {
        length(bytes, &mut at, tag)?;
    }
    let value_length = length(bytes, &mut at, 0x2a)?;
    let end = (at + value_length).checked_sub(1).filter(|end| *end >= at)?;
    (end < bytes.len()).then_some(end)
}

/// The number behind that tag; the place moves behind it.
fn length(bytes: &[u8], at: &mut usize, tag: u8) -> Option<usize> {
    if *bytes.get(*at)? != tag {
        return None;
    }
    let mut number = 0usize;
    for (step, byte) in bytes.get(*at + 1..)?.iter().take(5).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * step);
        if byte & 0x80 == 0 {
            *at += step + 2;
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use holdfast_client::proto::mvccpb::KeyValue;
    use prost::Message;

    use super::*;

    #[test]
    fn only_the_last_bit_of_values_of_these_keys_changes() {
        let kv = |key: &str, value: &str| {
            let (key, value) = (key.to_owned().into(), value.to_owned().into());
            KeyValue { key, value, create_revision: 300, mod_revision: 70_000, version: 2, ..KeyValue::default() }
        };
        let all = [kv("register/1", "1000004"), kv("other", "7"), kv("register/2", "8"), kv("register/3", "")];
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        let page: Vec<u8> = all.iter().flat_map(|kv| [vec![0; 3], kv.encode_to_vec()].concat()).collect();
        std::fs::write(&path, &page).expect("written");
        assert_eq!(flip_values(&path, b"register/").expect("flipped"), 2);
        let flipped = std::fs::read(&path).expect("read");
        let expected = [kv("register/1", "1000005"), kv("other", "7"), kv("register/2", "9"), kv("register/3", "")];
        let expected: Vec<u8> = expected.iter().flat_map(|kv| [vec![0; 3], kv.encode_to_vec()].concat()).collect();
        assert_eq!(flipped, expected);
    }
}
