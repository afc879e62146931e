//! A log that rots: one bit of an entry is not what was written.

use std::path::{Path, PathBuf};

use holdfast_node::env::{Disk, FaultyDisk};
use holdfast_node::rt;

use super::cluster::LOG_SLOTS;

const LOG_DIR: &str = "/data/wal";
const SEGMENT_ENDING: &str = ".seg";
/// Where entries begin in a segment, behind its header and their identifiers: see docs/FORMATS.md, "The Raft log".
const ENTRIES_START: usize = 4096 + 64 * LOG_SLOTS as usize;

/// Flips a bit of an entry that is in the log, and says where. None if nothing was written yet. No process may use the
/// disk meanwhile.
pub(super) fn flip_a_bit_of_the_log(disk: &FaultyDisk) -> Option<String> {
    let names = disk.list(Path::new(LOG_DIR)).ok()?;
    let segments = names.iter().filter(|name| name.ends_with(SEGMENT_ENDING)).map(|name| Path::new(LOG_DIR).join(name));
    let written = |path: PathBuf| {
        let bytes = disk.contents(&path)?;
        // Entries lie one behind the other, and zeros behind them.
        let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
        (end > ENTRIES_START).then_some((path, end - ENTRIES_START))
    };
    let written: Vec<(PathBuf, usize)> = segments.filter_map(written).collect();
    let bytes: usize = written.iter().map(|(_, length)| length).sum();
    if bytes == 0 {
        return None;
    }
    let dice = rt::random_u64();
    let mut place = usize::try_from(dice >> 8).unwrap_or(usize::MAX) % bytes;
    let bit = u8::try_from(dice % 8).expect("a byte has eight");
    for (path, length) in written {
        if place < length {
            let offset = ENTRIES_START + place;
            disk.flip_bit(&path, offset as u64, bit);
            return Some(format!("bit {bit} of byte {offset} in {}", path.display()));
        }
        place -= length;
    }
    None
}
