//! Reads a database of bbolt's, ours or etcd's: `bolt.rs` draws the pages.
//!
//! The file comes from anywhere, so nothing in it is believed before it was looked at: every number is checked against
//! the file's length, keys must ascend, and the depth of a tree is bounded. Damage is an error that names the page.
//! What is in memory is one page for each level of the tree.

use std::io;
use std::sync::Arc;

use super::bolt::{BRANCH, BUCKET, ELEMENT_BYTES, HEADER_BYTES, LEAF, MAGIC, META, META_BYTES, VERSION, fnv1a};
use crate::env::DiskFile;

/// The sizes a page can have: that of a page of memory of the machine that wrote it.
const PAGE_SIZES: [u64; 8] = [4096, 8192, 16_384, 32_768, 65_536, 1024, 2048, 512];
/// No tree is deeper: a branch has at least two children.
const DEPTH_MAX: usize = 48;
/// A page with all that belongs to it, in bytes: one large value, and whatever stands beside it.
const RUN_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why a file is not read as a database.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no database of etcd's: neither of its first two pages says so")]
    NotBolt,
    #[error("it ends early: its first page counts {expected} bytes, and there are {found}")]
    Short { expected: u64, found: u64 },
    #[error("page {page} is damaged: {what}")]
    Damaged { page: u64, what: &'static str },
}

/// An open file.
#[derive(Debug)]
pub struct BoltFile {
    file: Arc<dyn DiskFile>,
    page_bytes: u64,
    /// The number of pages.
    pages: u64,
    /// The bucket of buckets.
    root: u64,
}

/// Is shown a key and its value.
pub type Visit<'f, E> = dyn FnMut(&[u8], &[u8]) -> Result<(), E> + 'f;
type VisitElement<'f, E> = dyn FnMut(Element<'_>) -> Result<(), E> + 'f;

/// Where the entries of a bucket begin.
#[derive(Clone, Debug)]
pub enum Top {
    Page(u64),
    /// A bucket so small that its only page stands in its parent's.
    Inline(Vec<u8>),
}

struct Element<'a> {
    flags: u32,
    key: &'a [u8],
    value: &'a [u8],
}

/// What one of the two meta pages says.
struct Meta {
    page_bytes: u64,
    root: u64,
    pages: u64,
    transaction: u64,
}

impl BoltFile {
    /// `bytes` is the length of the database, without what stands behind it.
    pub fn open(file: Arc<dyn DiskFile>, bytes: u64) -> Result<Self, BoltError> {
        let first = meta_at(file.as_ref(), 0, bytes)?;
        let places = first.as_ref().map_or_else(|| PAGE_SIZES.to_vec(), |first| vec![first.page_bytes]);
        let mut newest = first;
        for place in places {
            let Some(second) = meta_at(file.as_ref(), place, bytes)? else { continue };
            if second.page_bytes == place && newest.as_ref().is_none_or(|meta| meta.transaction < second.transaction) {
                newest = Some(second);
            }
        }
        let meta = newest.ok_or(BoltError::NotBolt)?;
        let expected = meta.pages.saturating_mul(meta.page_bytes);
        if expected > bytes {
            return Err(BoltError::Short { expected, found: bytes });
        }
        Ok(Self { file, page_bytes: meta.page_bytes, pages: meta.pages, root: meta.root })
    }

    /// What the database takes, whatever stands behind it.
    pub fn bytes(&self) -> u64 {
        self.pages * self.page_bytes
    }

    /// All buckets, in the order of their names.
    pub fn buckets(&self) -> Result<Vec<(Vec<u8>, Top)>, BoltError> {
        let mut found = Vec::new();
        self.walk::<BoltError>(&Top::Page(self.root), &mut |element| {
            let damaged = |what| BoltError::Damaged { page: self.root, what };
            if element.flags & BUCKET == 0 {
                return Err(damaged("an entry among the buckets is none"));
            }
            let (top, rest) = element.value.split_first_chunk().ok_or_else(|| damaged("a bucket has no root"))?;
            let rest = rest.get(8..).ok_or_else(|| damaged("a bucket has no root"))?;
            let top = match u64::from_le_bytes(*top) {
                0 => Top::Inline(rest.to_vec()),
                page => Top::Page(page),
            };
            found.push((element.key.to_vec(), top));
            Ok(())
        })?;
        Ok(found)
    }

    /// The entries of a bucket, in the order of their keys.
    pub fn entries<E: From<BoltError>>(&self, top: &Top, visit: &mut Visit<'_, E>) -> Result<(), E> {
        self.walk(top, &mut |element| visit(element.key, element.value))
    }

    fn walk<E: From<BoltError>>(&self, top: &Top, visit: &mut VisitElement<'_, E>) -> Result<(), E> {
        let mut last: Option<Vec<u8>> = None;
        let mut ascending = |page: u64, element: Element<'_>| {
            if last.as_ref().is_some_and(|last| last.as_slice() >= element.key) {
                return Err(BoltError::Damaged { page, what: "its keys do not ascend" }.into());
            }
            last = Some(element.key.to_vec());
            visit(element)
        };
        match top {
            Top::Page(page) => self.below(*page, DEPTH_MAX, &mut ascending),
            Top::Inline(page) => elements(0, page, &mut ascending),
        }
    }

    fn below<E: From<BoltError>>(
        &self,
        page: u64,
        depth_left: usize,
        visit: &mut dyn FnMut(u64, Element<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if depth_left == 0 {
            return Err(BoltError::Damaged { page, what: "the tree does not end" }.into());
        }
        let bytes = self.page(page)?;
        match u16_at(&bytes, 8) {
            Some(LEAF) => elements(page, &bytes, visit),
            Some(BRANCH) => {
                for child in children(page, &bytes)? {
                    self.below(child, depth_left - 1, visit)?;
                }
                Ok(())
            }
            _ => Err(BoltError::Damaged { page, what: "it is neither branch nor leaf" }.into()),
        }
    }

    /// A page with the further ones that it takes.
    fn page(&self, page: u64) -> Result<Vec<u8>, BoltError> {
        let damaged = |what| BoltError::Damaged { page, what };
        if page < 2 || page >= self.pages {
            return Err(damaged("there is no such page"));
        }
        let mut head = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut head, page * self.page_bytes)?;
        if u64_at(&head, 0) != Some(page) {
            return Err(damaged("it says that it is another one"));
        }
        let run = 1 + u64::from(u32_at(&head, 12).unwrap_or(u32::MAX));
        if run > self.pages - page || run * self.page_bytes > RUN_BYTES_MAX {
            return Err(damaged("it is longer than the file"));
        }
        let length = usize::try_from(run * self.page_bytes).map_err(|_| damaged("it is longer than the file"))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, page * self.page_bytes)?;
        Ok(bytes)
    }
}

/// `None` if there is no such page, or if it is damaged.
fn meta_at(file: &dyn DiskFile, place: u64, bytes: u64) -> Result<Option<Meta>, BoltError> {
    let mut page = [0; HEADER_BYTES + META_BYTES];
    if place + page.len() as u64 > bytes {
        return Ok(None);
    }
    file.read_exact_at(&mut page, place)?;
    let meta = &page[HEADER_BYTES..];
    let (summed, sum) = meta.split_at(META_BYTES - 8);
    let says_so = u16_at(&page, 8) == Some(META)
        && u32_at(meta, 0) == Some(MAGIC)
        && u32_at(meta, 4) == Some(VERSION)
        && u64_at(sum, 0) == Some(fnv1a(summed));
    let page_bytes = u64::from(u32_at(meta, 8).unwrap_or(0));
    if !says_so || !PAGE_SIZES.contains(&page_bytes) {
        return Ok(None);
    }
    let number = |at: usize| u64_at(meta, at).unwrap_or(0);
    Ok(Some(Meta { page_bytes, root: number(16), pages: number(40), transaction: number(48) }))
}

fn elements<E: From<BoltError>>(
    page: u64,
    bytes: &[u8],
    visit: &mut dyn FnMut(u64, Element<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = || BoltError::Damaged { page, what: "an entry reaches beyond its end" };
    let count = usize::from(u16_at(bytes, 10).ok_or_else(damaged)?);
    for at in (0..count).map(|number| HEADER_BYTES + number * ELEMENT_BYTES) {
        let field = |offset: usize| u32_at(bytes, at + offset).map(|field| field as usize).ok_or_else(damaged);
        let key = at + field(4)?;
        let value = key + field(8)?;
        let end = value + field(12)?;
        let element = Element {
            flags: u32_at(bytes, at).ok_or_else(damaged)?,
            key: bytes.get(key..value).ok_or_else(damaged)?,
            value: bytes.get(value..end).ok_or_else(damaged)?,
        };
        visit(page, element)?;
    }
    Ok(())
}

fn children(page: u64, bytes: &[u8]) -> Result<Vec<u64>, BoltError> {
    let damaged = || BoltError::Damaged { page, what: "a child reaches beyond its end" };
    let count = usize::from(u16_at(bytes, 10).ok_or_else(damaged)?);
    (0..count).map(|number| u64_at(bytes, HEADER_BYTES + number * ELEMENT_BYTES + 8).ok_or_else(damaged)).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
