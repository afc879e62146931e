//! The header of a segment, read or proven.
//!
//! A rotten header costs nothing that the rest of the file cannot say again: the name gives the first index, the
//! identifiers and frames agree with one another only where the areas really lie.

use super::frame;
use super::identifier::{IDENTIFIER_BYTES, Identifier, Slot};
use super::image::Image;
use super::meta::Meta;
use super::segment::{Geometry, HEADER_BYTES, SegmentHeader};
use super::verdict::{SegmentFile, SegmentHead};
use crate::codec::record::RecordError;

/// How a segment is laid out, and how well that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub header: SegmentHeader,
    pub head: SegmentHead,
    pub file: SegmentFile,
}

/// Fails only for a header of a newer format.
pub(super) fn of(image: &Image, first: u64, meta: &Meta, configured: Geometry) -> Result<Layout, RecordError> {
    let decoded = match image.get(0, HEADER_BYTES.min(image.len())).map(SegmentHeader::decode) {
        Some(Err(newer @ RecordError::Newer { .. })) => return Err(newer),
        // A header under the name of another segment is as good as none.
        Some(Ok(header)) if header.first == first => Some(header),
        Some(Ok(_) | Err(RecordError::Damaged)) | None => None,
    };
    let layout = match decoded {
        Some(header) => Layout { header, head: SegmentHead::Good, file: SegmentFile::Whole },
        None => prove(image, first, meta, configured),
    };
    let file = match image.len().cmp(&layout.header.geometry.file_bytes()) {
        std::cmp::Ordering::Less => SegmentFile::Short,
        std::cmp::Ordering::Equal => SegmentFile::Whole,
        std::cmp::Ordering::Greater => SegmentFile::Long,
    };
    Ok(Layout { file, ..layout })
}

fn prove(image: &Image, first: u64, meta: &Meta, configured: Geometry) -> Layout {
    let layouts = [meta.slots, configured.slots].map(|slots| {
        let bare = Geometry { slots, data_bytes: 0 };
        let data_bytes = image.len().saturating_sub(bare.data_start());
        Geometry { slots, data_bytes }
    });
    let never_used = image.written_end() <= HEADER_BYTES;
    let proven = layouts.into_iter().find(|geometry| agrees_somewhere(image, first, *geometry));
    let head = if proven.is_some() || never_used { SegmentHead::Proven } else { SegmentHead::Lost };
    let header = SegmentHeader {
        identity: meta.identity,
        first,
        geometry: proven.unwrap_or(layouts[0]),
        meta_version: 0,
        previous: None,
    };
    Layout { header, head, file: SegmentFile::Whole }
}

/// One identifier and the frame it points at are whole and agree: no other layout could make that true.
fn agrees_somewhere(image: &Image, first: u64, geometry: Geometry) -> bool {
    (0..u64::from(geometry.slots)).any(|slot| {
        let bytes = image.get(HEADER_BYTES + slot * IDENTIFIER_BYTES, IDENTIFIER_BYTES);
        let Some(Slot::Good(record)) = bytes.map(|bytes| Identifier::decode(bytes, first + slot)) else { return false };
        let Some(offset) = record.offset else { return false };
        let bytes = image.tail(geometry.data_start().saturating_add(offset));
        frame::parse(bytes).is_some_and(|frame| record.agrees(&frame))
    })
}
