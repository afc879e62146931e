//! A segment file read as a whole, with the places that could not be read.

use std::io;
use std::ops::Range;

use crate::env::DiskFile;

/// The unit in which a medium fails.
pub(super) const SECTOR_BYTES: u64 = 512;
/// Bytes per read as long as nothing fails.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// The bytes of a file as far as they could be read.
#[derive(Debug)]
pub(super) struct Image {
    bytes: Vec<u8>,
    /// Sectors that gave an error; their bytes above are zeros.
    unreadable: Vec<u64>,
}

impl Image {
    /// Fails only if the file as a whole cannot be used; a medium error of a sector is recorded.
    pub fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let length = file.len()?;
        let mut image = Self { bytes: vec![0; length as usize], unreadable: Vec::new() };
        let mut at = 0;
        while at < length {
            let end = (at + CHUNK_BYTES).min(length);
            if file.read_exact_at(&mut image.bytes[at as usize..end as usize], at).is_err() {
                image.read_by_sector(file, at..end)?;
            }
            at = end;
        }
        Ok(image)
    }

    fn read_by_sector(&mut self, file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let end = (at + SECTOR_BYTES).min(range.end);
            let buffer = &mut self.bytes[at as usize..end as usize];
            match file.read_exact_at(buffer, at) {
                Ok(()) => {}
                Err(error) if is_medium_error(&error) => {
                    buffer.fill(0);
                    self.unreadable.push(at / SECTOR_BYTES);
                }
                Err(error) => return Err(error),
            }
            at = end;
        }
        Ok(())
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// These bytes, if the file has them all and all could be read.
    pub fn get(&self, at: u64, length: u64) -> Option<&[u8]> {
        let bytes = self.bytes.get(at as usize..at.checked_add(length)? as usize)?;
        (!self.is_unreadable(at, length)).then_some(bytes)
    }

    /// From here to the end of the file or the first place that cannot be read.
    pub fn tail(&self, at: u64) -> &[u8] {
        let first_bad = self.unreadable.iter().map(|sector| sector * SECTOR_BYTES).find(|bad| bad + SECTOR_BYTES > at);
        let end = first_bad.unwrap_or(self.len()).min(self.len());
        self.bytes.get(at as usize..end as usize).unwrap_or(&[])
    }

    /// The medium refuses at least one of these bytes, or the file is too short for them.
    pub fn is_unreadable(&self, at: u64, length: u64) -> bool {
        let end = at.saturating_add(length);
        let touched = at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        end > self.len() || self.unreadable.iter().any(|sector| touched.contains(sector))
    }

    /// One past the last byte that cannot be read; 0 if all can.
    pub fn unreadable_end(&self) -> u64 {
        self.unreadable.last().map_or(0, |sector| (sector + 1) * SECTOR_BYTES)
    }

    /// One past the last byte that is not zero, or cannot be read.
    pub fn written_end(&self) -> u64 {
        const STRIDE: usize = 4096;
        let strides = self.bytes.chunks(STRIDE).rposition(|stride| stride.iter().any(|byte| *byte != 0));
        let written = strides.map_or(0, |place| {
            let stride = &self.bytes[place * STRIDE..((place + 1) * STRIDE).min(self.bytes.len())];
            place * STRIDE + stride.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
        });
        (written as u64).max(self.unreadable_end())
    }

    /// The bytes from one place to another as far as the file goes; zeros where it could not be read.
    pub fn raw(&self, from: u64, to: u64) -> &[u8] {
        let end = (to as usize).min(self.bytes.len());
        self.bytes.get(from as usize..end).unwrap_or(&[])
    }
}

/// A sector is bad, as opposed to: the disk is gone, the handle is dead.
pub(super) fn is_medium_error(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::{Disk, FaultyDisk, OpenMode};

    #[test]
    fn a_bad_sector_hides_only_itself() {
        let disk = FaultyDisk::new(1);
        let path = Path::new("/f");
        disk.plant(path, &[7; 2000]);
        disk.fail_reads(path, 600..700);
        let file = disk.open(path, OpenMode::Read).unwrap();
        let image = Image::read(file.as_ref()).unwrap();
        assert_eq!((image.len(), image.unreadable_end()), (2000, 1024));
        assert_eq!(image.get(0, 512), Some(&[7; 512][..]));
        assert_eq!((image.get(511, 2), image.get(1023, 1)), (None, None));
        assert_eq!(image.get(1024, 976).map(<[u8]>::len), Some(976));
        assert_eq!((image.get(1024, 977), image.tail(500).len(), image.tail(1024).len()), (None, 12, 976));
        assert_eq!(image.raw(500, 9999)[..13], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
    }

    #[test]
    fn the_last_written_byte_is_found_wherever_it_is() {
        let disk = FaultyDisk::new(1);
        let path = Path::new("/f");
        for (last, length) in [(0, 1), (0, 9000), (4095, 9000), (4096, 9000), (8999, 9000)] {
            let mut bytes = vec![0; length];
            bytes[last] = 1;
            disk.plant(path, &bytes);
            let file = disk.open(path, OpenMode::Read).unwrap();
            assert_eq!(Image::read(file.as_ref()).unwrap().written_end(), last as u64 + 1);
            disk.zero(path, 0..length as u64);
            assert_eq!(Image::read(file.as_ref()).unwrap().written_end(), 0);
        }
    }

    #[test]
    fn a_dead_handle_is_not_taken_for_rot() {
        let disk = FaultyDisk::new(1);
        disk.plant(Path::new("/f"), &[7; 2000]);
        let file = disk.open(Path::new("/f"), OpenMode::Read).unwrap();
        disk.kill();
        assert!(Image::read(file.as_ref()).is_err());
    }
}
