//! The pages of bbolt, the file format of etcd's database: a tree of pages for each bucket, and one for the buckets.
//! Written once, never changed: what free lists and transactions are for has no part in it.
//!
//! ```text
//! page 0, 1   meta: magic, version, page size, page of the bucket of buckets, page of the free list, number of pages,
//!             transaction, FNV-1a of all that
//! page 2      the free list, empty
//! any other   header: id u64 | flags u16 | elements u16 | further pages it takes u32
//!   leaf      elements: flags u32 | place of the key u32 | length of key u32 | of value u32; then keys and values
//!   branch    elements: place of the key u32 | length of key u32 | page u64; then keys
//! ```
//!
//! Integers are little-endian. A place is counted from the beginning of its element. A page may take several pages'
//! bytes; so leaves here are large, and there are few of them.

use bytes::{BufMut, BytesMut};

pub const PAGE_BYTES: usize = 4096;
/// A leaf is closed before it grows beyond, unless a single element does.
pub const LEAF_BYTES: usize = 256 * 1024;
const BRANCH_BYTES: usize = 64 * 1024;
pub const HEADER_BYTES: usize = 16;
pub const ELEMENT_BYTES: usize = 16;
const ELEMENTS_MAX: usize = 0xFFF0;

pub const MAGIC: u32 = 0xED0C_DAED;
pub const VERSION: u32 = 2;
const FREE_LIST_PAGE: u64 = 2;
/// The first page behind metas and free list.
pub const FIRST_PAGE: u64 = 3;

pub const BRANCH: u16 = 0x01;
pub const LEAF: u16 = 0x02;
pub const META: u16 = 0x04;
const FREE_LIST: u16 = 0x10;
/// Of an element whose value is a bucket.
pub const BUCKET: u32 = 1;
/// What a meta page says, its sum included.
pub const META_BYTES: usize = 64;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A page that is referred to, by the first key in it or below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub first: Vec<u8>,
    pub page: u64,
}

/// What a leaf will take, while it is still being decided what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeafSize {
    elements: usize,
    bytes: usize,
}

impl LeafSize {
    /// Whether an element of this size still belongs into the leaf. The first always does.
    pub fn has_room(&self, key_bytes: usize, value_bytes: usize) -> bool {
        let with = HEADER_BYTES + self.bytes + ELEMENT_BYTES + key_bytes + value_bytes;
        self.elements == 0 || (with <= LEAF_BYTES && self.elements < ELEMENTS_MAX)
    }

    pub fn add(&mut self, key_bytes: usize, value_bytes: usize) {
        self.elements += 1;
        self.bytes += ELEMENT_BYTES + key_bytes + value_bytes;
    }

    pub fn pages(&self) -> u64 {
        pages_of(HEADER_BYTES + self.bytes)
    }
}

fn pages_of(bytes: usize) -> u64 {
    bytes.div_ceil(PAGE_BYTES) as u64
}

fn header(page: &mut BytesMut, id: u64, flags: u16, elements: usize, bytes: usize) {
    page.put_u64_le(id);
    page.put_u16_le(flags);
    page.put_u16_le(u16::try_from(elements).expect("elements are counted before a page is written"));
    page.put_u32_le(u32_of(pages_of(bytes) as usize - 1));
}

/// Sizes of one page, which are far below 4 GiB: a request is.
fn u32_of(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a page holds at most one large request")
}

fn padded(mut page: BytesMut) -> BytesMut {
    let whole = pages_of(page.len()) as usize * PAGE_BYTES;
    page.resize(whole, 0);
    page
}

/// The bytes of a leaf.
pub fn leaf(id: u64, entries: &[Entry]) -> BytesMut {
    leaf_of(id, entries, 0)
}

fn leaf_of(id: u64, entries: &[Entry], flags: u32) -> BytesMut {
    let data: usize = entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
    let bytes = HEADER_BYTES + entries.len() * ELEMENT_BYTES + data;
    let mut page = BytesMut::with_capacity(bytes + PAGE_BYTES);
    header(&mut page, id, LEAF, entries.len(), bytes);
    let mut behind = 0;
    for (at, entry) in entries.iter().enumerate() {
        page.put_u32_le(flags);
        page.put_u32_le(u32_of((entries.len() - at) * ELEMENT_BYTES + behind));
        page.put_u32_le(u32_of(entry.key.len()));
        page.put_u32_le(u32_of(entry.value.len()));
        behind += entry.key.len() + entry.value.len();
    }
    for entry in entries {
        page.put_slice(&entry.key);
        page.put_slice(&entry.value);
    }
    padded(page)
}

fn branch(id: u64, children: &[Child]) -> BytesMut {
    let bytes = HEADER_BYTES + children.iter().map(|child| ELEMENT_BYTES + child.first.len()).sum::<usize>();
    let mut page = BytesMut::with_capacity(bytes + PAGE_BYTES);
    header(&mut page, id, BRANCH, children.len(), bytes);
    let mut behind = 0;
    for (at, child) in children.iter().enumerate() {
        page.put_u32_le(u32_of((children.len() - at) * ELEMENT_BYTES + behind));
        page.put_u32_le(u32_of(child.first.len()));
        page.put_u64_le(child.page);
        behind += child.first.len();
    }
    for child in children {
        page.put_slice(&child.first);
    }
    padded(page)
}

/// The branches above `children`, numbered from `next` on, behind one another; and the page at the top, which is the
/// only child if there is just one.
pub fn branches(mut children: Vec<Child>, mut next: u64) -> (u64, BytesMut) {
    let mut pages = BytesMut::new();
    while children.len() > 1 {
        let mut above = Vec::new();
        let mut rest = children.as_slice();
        while !rest.is_empty() {
            let (group, left) = rest.split_at(group_of(rest));
            let page = branch(next, group);
            above.push(Child { first: group[0].first.clone(), page: next });
            next += pages_of(page.len());
            pages.extend_from_slice(&page);
            rest = left;
        }
        children = above;
    }
    (children.first().map_or(0, |child| child.page), pages)
}

/// How many of the first children a branch takes: at least two, or the tree would not end.
fn group_of(children: &[Child]) -> usize {
    let mut bytes = HEADER_BYTES;
    let fitting = children.iter().take_while(|child| {
        bytes += ELEMENT_BYTES + child.first.len();
        bytes <= BRANCH_BYTES
    });
    fitting.take(ELEMENTS_MAX).count().max(2).min(children.len())
}

/// A whole tree of entries that are in memory, numbered from `next` on, and the page at its top. `None` without any.
pub fn tree(entries: &[Entry], mut next: u64) -> (Option<u64>, BytesMut) {
    let (mut pages, mut children) = (BytesMut::new(), Vec::new());
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let mut size = LeafSize::default();
        let fitting = rest.iter().take_while(|entry| {
            let has_room = size.has_room(entry.key.len(), entry.value.len());
            size.add(entry.key.len(), entry.value.len());
            has_room
        });
        let (group, left) = rest.split_at(fitting.count());
        let page = leaf(next, group);
        children.push(Child { first: first.key.clone(), page: next });
        next += pages_of(page.len());
        pages.extend_from_slice(&page);
        rest = left;
    }
    let (top, above) = branches(children, next);
    pages.extend_from_slice(&above);
    ((!entries.is_empty()).then_some(top), pages)
}

/// The bucket of buckets, each with the page at its top; `None` is an empty one.
pub fn buckets(id: u64, tops: &[(&str, Option<u64>)]) -> BytesMut {
    let entries: Vec<Entry> = tops
        .iter()
        .map(|(name, top)| {
            let mut value = BytesMut::with_capacity(2 * HEADER_BYTES);
            value.put_u64_le(top.unwrap_or(0));
            value.put_u64_le(0);
            if top.is_none() {
                // An empty leaf stands in its parent's.
                header(&mut value, 0, LEAF, 0, HEADER_BYTES);
            }
            Entry { key: name.as_bytes().to_vec(), value: value.to_vec() }
        })
        .collect();
    leaf_of(id, &entries, BUCKET)
}

/// The pages in front of all others.
pub fn front(buckets_page: u64, pages: u64) -> BytesMut {
    let mut front = BytesMut::new();
    for id in 0..FREE_LIST_PAGE {
        let mut page = BytesMut::with_capacity(PAGE_BYTES);
        header(&mut page, id, META, 0, PAGE_BYTES);
        page.put_u32_le(MAGIC);
        page.put_u32_le(VERSION);
        page.put_u32_le(u32_of(PAGE_BYTES));
        page.put_u32_le(0);
        page.put_u64_le(buckets_page);
        page.put_u64_le(0);
        page.put_u64_le(FREE_LIST_PAGE);
        page.put_u64_le(pages);
        // The transaction: of the two, the one with the higher counts.
        page.put_u64_le(id);
        let sum = fnv1a(&page[HEADER_BYTES..]);
        page.put_u64_le(sum);
        front.extend_from_slice(&padded(page));
    }
    let mut free_list = BytesMut::with_capacity(PAGE_BYTES);
    header(&mut free_list, FREE_LIST_PAGE, FREE_LIST, 0, HEADER_BYTES);
    front.extend_from_slice(&padded(free_list));
    front
}

/// Fowler, Noll, Vo: FNV-1a of 64 bits.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Entry {
        Entry { key: key.as_bytes().to_vec(), value: value.as_bytes().to_vec() }
    }

    #[test]
    fn a_leaf_byte_by_byte() {
        let page = leaf(7, &[entry("a", "1"), entry("bc", "")]);
        assert_eq!(page.len(), PAGE_BYTES);
        let mut expected = vec![7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 0];
        expected.extend([0, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        expected.extend([0, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"a1bc");
        assert_eq!(page[..expected.len()], expected);
        assert!(page[expected.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_large_value_takes_several_pages() {
        let page = leaf(3, &[entry("k", &"v".repeat(10_000))]);
        assert_eq!((page.len(), page[12]), (3 * PAGE_BYTES, 2), "two further pages");
    }

    #[test]
    fn many_entries_are_a_tree_whose_pages_are_numbered_through() {
        let entries: Vec<Entry> = (0..20_000).map(|i| entry(&format!("{i:06}"), &"v".repeat(100))).collect();
        let (top, pages) = tree(&entries, 3);
        let (top, mut at, mut leaves, mut elements) = (top.unwrap(), 0, 0, 0);
        while at < pages.len() {
            let word = |from: usize| u32::from_le_bytes(pages[at + from..at + from + 4].try_into().unwrap());
            assert_eq!(word(0) as usize, 3 + at / PAGE_BYTES, "a page's id is its place");
            if pages[at + 8] == 2 {
                leaves += 1;
                elements += usize::from(u16::from_le_bytes([pages[at + 10], pages[at + 11]]));
            } else {
                assert_eq!((word(0), u64::from(word(0))), (word(0), top), "one branch is enough");
                assert_eq!(u16::from_le_bytes([pages[at + 10], pages[at + 11]]), leaves);
            }
            at += (word(12) as usize + 1) * PAGE_BYTES;
        }
        assert_eq!(elements, entries.len());
        assert!(leaves > 5);
    }

    #[test]
    fn an_empty_bucket_stands_in_its_parent() {
        assert_eq!(tree(&[], 3), (None, BytesMut::new()));
        let page = buckets(3, &[("key", None)]);
        assert_eq!(page[16], 1, "the element is a bucket");
        assert_eq!(&page[32..35], b"key");
        assert_eq!(page[35..35 + 32][24..28], [2, 0, 0, 0], "an empty leaf");
    }

    /// The empty and the one-letter string, as the algorithm's authors publish them.
    #[test]
    fn the_sum_is_fnv() {
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xAF63_DC4C_8601_EC8C);
    }
}
