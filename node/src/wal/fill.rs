//! Putting the bytes of a hole back.
//!
//! The identifier holds every field of the lost frame's head, so the frame that is built from it and the payload is the
//! old one, byte for byte, and its checksum says so. Where only index and term are known the frame gets a new checksum,
//! and the identifier's chain crc keeps the one that the next entry was written against. What cannot go back where it
//! was goes to the repair area, at the file's end.

use super::RawEntry;
use super::error::{FillError, WalError};
use super::frame::{self, FrameHead};
use super::identifier::Identifier;
use super::image::SECTOR_BYTES;
use super::log::{HolePlace, Log};

impl Log {
    /// Writes an entry that a peer has sent back into its hole. Durable when it returns.
    pub fn fill_hole(&self, entry: &RawEntry) -> Result<(), FillError> {
        let _writer = self.writer.lock();
        self.check_poison()?;
        let offered = entry.log_id;
        let found = {
            let shared = self.shared.read();
            let record = shared.record(offered.index).filter(|record| record.head.log_id == offered);
            let place = shared.holes.get(&offered.index).copied();
            let segment = shared.segment_of(offered.index).map(|index| std::sync::Arc::clone(&index.segment));
            segment.zip(record.zip(place))
        };
        let Some((segment, (record, place))) = found else { return Err(FillError::NoSuchHole { offered }) };
        let Some((bytes, refilled)) = rebuild(&record, entry) else { return Err(FillError::Different { offered }) };

        let refilled = self.changing(|| {
            let failed = WalError::io(&segment.path, "fill a hole");
            let offset = match (place, record.offset) {
                (HolePlace::InPlace, Some(offset)) => offset,
                (HolePlace::InPlace | HolePlace::RepairArea, _) => {
                    let data_start = segment.data_at(0);
                    let end = segment.file.len().map_err(&failed)?.max(segment.header.geometry.file_bytes());
                    end.next_multiple_of(SECTOR_BYTES) - data_start
                }
            };
            let refilled = Identifier { offset: Some(offset), ..refilled };
            segment.file.write_all_at(&bytes, segment.data_at(offset)).map_err(&failed)?;
            segment.file.write_all_at(&refilled.encode(), segment.slot_at(offered.index)).map_err(&failed)?;
            segment.file.sync().map_err(&failed)?;
            Ok(refilled)
        })?;
        let mut shared = self.shared.write();
        shared.holes.remove(&offered.index);
        shared.set_record(refilled);
        Ok(())
    }
}

/// The frame of `entry` and its identifier, without a place; none if it is not the entry that was lost.
fn rebuild(record: &Identifier, entry: &RawEntry) -> Option<(Vec<u8>, Identifier)> {
    let head = FrameHead { kind: entry.kind, length: u32::try_from(entry.payload.len()).ok()?, ..record.head };
    let mut bytes = Vec::new();
    let crc = frame::encode(&head, &entry.payload, &mut bytes);
    let is_the_lost_one = record.offset.is_none() || (head == record.head && crc == record.crc);
    is_the_lost_one.then_some((bytes, Identifier { head, crc, ..*record }))
}
