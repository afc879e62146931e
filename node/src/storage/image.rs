//! The memory engine's whole state as one file.
//!
//! ```text
//! file    = head frame* end
//! head    = "HFMEMIMG" (8) | version u32 = 1 | crc u32 over the 12 bytes before it
//! frame   = length u32 > 0 | crc u32 | row+, together `length` bytes
//! row     = column u8 | key length u32 | value length u32 | key | value
//! end     = length u32 = 0 | crc u32
//! ```
//!
//! Integers are little-endian; crc is crc32 (IEEE). A frame's crc covers the crc before it, its own length and its
//! rows, so that a frame lost, repeated or moved breaks the chain as surely as a flipped bit; the end frame seals the
//! chain, and nothing may follow it. `column` is the column's place in [`Column::ALL`]. Rows stand in the order of
//! columns, then keys.
//!
//! A frame holds about 64 KiB, or one larger row, so that neither side needs the image in memory twice.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::env::{Disk, DiskFile, OpenMode};

use super::{Column, EngineError};

const MAGIC: &[u8; 8] = b"HFMEMIMG";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const FRAME_HEAD_BYTES: usize = 8;
const ROW_HEAD_BYTES: usize = 9;

/// A frame is closed at the first row that takes it here.
const FRAME_BYTES_TARGET: usize = 64 * 1024;

/// Writes an image from the first row to the seal.
pub(super) struct ImageWriter<'a> {
    file: &'a dyn DiskFile,
    /// Rows of the frame being filled, with room for the frame's head in front.
    frame: Vec<u8>,
    /// Where the next frame goes.
    offset: u64,
    /// crc of the last frame, or of the head.
    chain: u32,
}

impl<'a> ImageWriter<'a> {
    pub(super) fn start(file: &'a dyn DiskFile) -> io::Result<Self> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        let chain = crc32fast::hash(&head);
        head.extend_from_slice(&chain.to_le_bytes());
        file.write_all_at(&head, 0)?;
        Ok(Self { file, frame: vec![0; FRAME_HEAD_BYTES], offset: HEAD_BYTES as u64, chain })
    }

    pub(super) fn row(&mut self, column: Column, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.frame.push(column_number(column));
        self.frame.extend_from_slice(&length_u32(key)?.to_le_bytes());
        self.frame.extend_from_slice(&length_u32(value)?.to_le_bytes());
        self.frame.extend_from_slice(key);
        self.frame.extend_from_slice(value);
        if self.frame.len() >= FRAME_BYTES_TARGET { self.close_frame() } else { Ok(()) }
    }

    /// Closes the image and tells its length in bytes. The caller syncs.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if self.frame.len() > FRAME_HEAD_BYTES {
            self.close_frame()?;
        }
        self.close_frame()?;
        Ok(self.offset)
    }

    fn close_frame(&mut self) -> io::Result<()> {
        let (head, rows) = self.frame.split_at_mut(FRAME_HEAD_BYTES);
        let length = length_u32(rows)?.to_le_bytes();
        self.chain = frame_crc(self.chain, length, rows);
        head[..4].copy_from_slice(&length);
        head[4..].copy_from_slice(&self.chain.to_le_bytes());
        self.file.write_all_at(&self.frame, self.offset)?;
        self.offset += self.frame.len() as u64;
        self.frame.truncate(FRAME_HEAD_BYTES);
        Ok(())
    }
}

/// Reads the image at `path` and hands each row to `row`, in the order in which they were written.
pub(super) fn read_image(
    disk: &dyn Disk,
    path: &Path,
    row: &mut dyn FnMut(Column, Bytes, Bytes),
) -> Result<(), EngineError> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut reader = FrameReader { path, length: file.len()?, file: &*file, offset: 0, chain: 0 };
    reader.head()?;
    while let Some(rows) = reader.frame()? {
        split_rows(rows, row).ok_or_else(|| reader.corrupt("holds a frame that does not divide into rows"))?;
    }
    if reader.offset != reader.length {
        return Err(reader.corrupt("goes on after its end"));
    }
    Ok(())
}

struct FrameReader<'a> {
    path: &'a Path,
    file: &'a dyn DiskFile,
    /// Length of the file in bytes.
    length: u64,
    offset: u64,
    chain: u32,
}

impl FrameReader<'_> {
    fn head(&mut self) -> Result<(), EngineError> {
        let head: [u8; HEAD_BYTES] = self.take()?;
        let (covered, crc) = head.split_at(HEAD_BYTES - 4);
        self.chain = crc32fast::hash(covered);
        if covered[..8] != *MAGIC || crc != self.chain.to_le_bytes() {
            return Err(self.corrupt("does not start with the head of an image"));
        }
        let version = u32::from_le_bytes(covered[8..].try_into().expect("the head has four bytes there"));
        if version != VERSION {
            return Err(EngineError::Format { path: self.path.to_owned(), found: version, known: VERSION });
        }
        Ok(())
    }

    /// The rows of the next frame, `None` at the end frame.
    fn frame(&mut self) -> Result<Option<Bytes>, EngineError> {
        let head: [u8; FRAME_HEAD_BYTES] = self.take()?;
        let (length, crc) = head.split_at(4);
        let length: [u8; 4] = length.try_into().expect("the frame's head has four bytes there");
        let rows_bytes = u32::from_le_bytes(length);
        if u64::from(rows_bytes) > self.length - self.offset {
            return Err(self.corrupt("ends inside a frame, or has a rotten frame length"));
        }
        let mut rows = vec![0; rows_bytes as usize];
        self.file.read_exact_at(&mut rows, self.offset)?;
        self.chain = frame_crc(self.chain, length, &rows);
        if crc != self.chain.to_le_bytes() {
            return Err(self.corrupt("holds a frame that fails its checksum"));
        }
        self.offset += u64::from(rows_bytes);
        Ok((rows_bytes > 0).then(|| Bytes::from(rows)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        if self.length - self.offset < N as u64 {
            return Err(self.corrupt("ends too early"));
        }
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn corrupt(&self, what: &str) -> EngineError {
        EngineError::Corrupt {
            detail: format!("{} {what} (at byte {} of {})", self.path.display(), self.offset, self.length),
        }
    }
}

/// `None` when the bytes are not whole rows of known columns. The chain vouches for them, so this is another writer's
/// mistake, not rot.
fn split_rows(mut rows: Bytes, row: &mut dyn FnMut(Column, Bytes, Bytes)) -> Option<()> {
    while !rows.is_empty() {
        if rows.len() < ROW_HEAD_BYTES {
            return None;
        }
        let head = rows.split_to(ROW_HEAD_BYTES);
        let column = *Column::ALL.get(usize::from(head[0]))?;
        let key_bytes = u32::from_le_bytes(head[1..5].try_into().ok()?) as usize;
        let value_bytes = u32::from_le_bytes(head[5..9].try_into().ok()?) as usize;
        if rows.len() < key_bytes.checked_add(value_bytes)? {
            return None;
        }
        // Copies, so that one small row that lives on does not keep its whole frame in memory.
        let key = Bytes::copy_from_slice(&rows.split_to(key_bytes));
        let value = Bytes::copy_from_slice(&rows.split_to(value_bytes));
        row(column, key, value);
    }
    Some(())
}

fn frame_crc(before: u32, length: [u8; 4], rows: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(&length);
    hasher.update(rows);
    hasher.finalize()
}

fn column_number(column: Column) -> u8 {
    let place = Column::ALL.iter().position(|&c| c == column).expect("ALL holds every column");
    u8::try_from(place).expect("there are fewer than 256 columns")
}

fn length_u32(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} bytes do not fit in an image", bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FaultyDisk;

    const PATH: &str = "/IMAGE";

    fn rows() -> Vec<(Column, Bytes, Bytes)> {
        let row =
            |column, key: &'static str, value: Vec<u8>| (column, Bytes::from_static(key.as_bytes()), value.into());
        vec![
            row(Column::Current, "", vec![]),
            row(Column::Current, "a", b"1".to_vec()),
            // Larger than a frame's target: two frames, this row whole in the first.
            row(Column::History, "large", vec![7; FRAME_BYTES_TARGET + 100]),
            row(Column::Meta, "format", 1_u32.to_le_bytes().to_vec()),
        ]
    }

    fn image_of(rows: &[(Column, Bytes, Bytes)]) -> Vec<u8> {
        let disk = FaultyDisk::new(1);
        disk.create_dir_all(Path::new("/")).unwrap();
        let file = disk.open(Path::new(PATH), OpenMode::CreateNew).unwrap();
        let mut image = ImageWriter::start(&*file).unwrap();
        for (column, key, value) in rows {
            image.row(*column, key, value).unwrap();
        }
        let length = image.finish().unwrap();
        let bytes = disk.contents(Path::new(PATH)).unwrap();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    fn read(image: &[u8]) -> Result<Vec<(Column, Bytes, Bytes)>, EngineError> {
        let disk = FaultyDisk::new(1);
        disk.plant(Path::new(PATH), image);
        let mut rows = Vec::new();
        read_image(&disk, Path::new(PATH), &mut |column, key, value| rows.push((column, key, value)))?;
        Ok(rows)
    }

    fn assert_corrupt(image: &[u8], what: &str) {
        match read(image) {
            Err(EngineError::Corrupt { detail }) => assert!(detail.contains(PATH), "{what}: {detail}"),
            other => panic!("{what}: {other:?}"),
        }
    }

    #[test]
    fn an_image_reads_back() {
        assert_eq!(read(&image_of(&rows())).unwrap(), rows());
        assert_eq!(read(&image_of(&[])).unwrap(), []);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let image = image_of(&rows()[..2]);
        for bit in 0..image.len() * 8 {
            let mut bad = image.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_corrupt(&bad, &format!("bit {bit}"));
        }
        for length in 0..image.len() {
            assert_corrupt(&image[..length], &format!("length {length}"));
        }
        assert_corrupt(&[&image[..], &[0]].concat(), "a byte too many");
    }

    #[test]
    fn frames_have_their_places() {
        let large = |byte| (Column::History, Bytes::from(vec![byte]), Bytes::from(vec![byte; FRAME_BYTES_TARGET]));
        let image = image_of(&[large(1), large(2)]);
        let frame_bytes = FRAME_HEAD_BYTES + ROW_HEAD_BYTES + 1 + FRAME_BYTES_TARGET;
        let (head, rest) = image.split_at(HEAD_BYTES);
        let (first, rest) = rest.split_at(frame_bytes);
        let (second, end) = rest.split_at(frame_bytes);
        assert_eq!(end.len(), FRAME_HEAD_BYTES);
        assert_corrupt(&[head, second, first, end].concat(), "swapped");
        assert_corrupt(&[head, first, first, second, end].concat(), "repeated");
        assert_corrupt(&[head, second, end].concat(), "the first lost");
        assert_corrupt(&[head, first, end].concat(), "the last lost");
    }
}
