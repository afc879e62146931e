//! Which of many key ranges hold this key? A map from ranges to values that answers without looking at the rest.
//!
//! A treap (Seidel and Aragon, "Randomized search trees", 1996) ordered by start, then end, where each node also knows
//! the farthest end below it (the interval tree of Cormen et al., chapter 14). With n ranges, of which k hold the key:
//! lookup O(log n + k) for ranges that nest like prefixes, insert and remove O(log n). Priorities come from a counter
//! run through a mixing function: no randomness enters, and no client can choose them.

use bytes::Bytes;

/// Where a range stops. Declared in this order so that "never" sorts after every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SpanEnd {
    Before(Bytes),
    Never,
}

impl SpanEnd {
    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            SpanEnd::Before(end) => key < end.as_ref(),
            SpanEnd::Never => true,
        }
    }
}

/// A range of keys, ordered as the tree wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub start: Bytes,
    pub end: SpanEnd,
}

type Link<V> = Option<Box<Node<V>>>;

struct Node<V> {
    span: Span,
    value: V,
    /// Heap order: never smaller than a child's.
    priority: u64,
    /// The largest end in this subtree.
    farthest: SpanEnd,
    left: Link<V>,
    right: Link<V>,
}

impl<V> Node<V> {
    fn refresh(&mut self) {
        let ends = [Some(&self.span.end), farthest(&self.left), farthest(&self.right)];
        self.farthest = ends.into_iter().flatten().max().expect("the node's own end is there").clone();
    }
}

fn farthest<V>(link: &Link<V>) -> Option<&SpanEnd> {
    link.as_ref().map(|node| &node.farthest)
}

/// See the module's comment.
pub(super) struct IntervalMap<V> {
    root: Link<V>,
    /// Insertions so far; the source of priorities.
    insertions: u64,
}

impl<V> IntervalMap<V> {
    pub fn new() -> Self {
        Self { root: None, insertions: 0 }
    }

    /// The value of exactly this range.
    pub fn get_mut(&mut self, span: &Span) -> Option<&mut V> {
        let mut link = &mut self.root;
        while let Some(node) = link {
            match span.cmp(&node.span) {
                std::cmp::Ordering::Less => link = &mut node.left,
                std::cmp::Ordering::Greater => link = &mut node.right,
                std::cmp::Ordering::Equal => return Some(&mut node.value),
            }
        }
        None
    }

    /// Adds a range that is not there yet.
    pub fn insert(&mut self, span: Span, value: V) {
        self.insertions += 1;
        let farthest = span.end.clone();
        let priority = mixed(self.insertions);
        let node = Box::new(Node { span, value, priority, farthest, left: None, right: None });
        self.root = Some(inserted(self.root.take(), node));
    }

    /// Takes out exactly this range.
    pub fn remove(&mut self, span: &Span) -> Option<V> {
        let (root, value) = removed(self.root.take(), span);
        self.root = root;
        value
    }

    /// Calls `visit` with the value of each range that holds `key`, in the order of ranges.
    pub fn visit<'a>(&'a self, key: &[u8], visit: &mut dyn FnMut(&'a V)) {
        stab(&self.root, key, visit);
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mixed(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn inserted<V>(link: Link<V>, mut new: Box<Node<V>>) -> Box<Node<V>> {
    let Some(mut node) = link else { return new };
    assert!(node.span != new.span, "a range is inserted once");
    if new.priority > node.priority {
        (new.left, new.right) = split(Some(node), &new.span);
        new.refresh();
        return new;
    }
    if new.span < node.span {
        node.left = Some(inserted(node.left.take(), new));
    } else {
        node.right = Some(inserted(node.right.take(), new));
    }
    node.refresh();
    node
}

/// The ranges before `at`, and those after it.
fn split<V>(link: Link<V>, at: &Span) -> (Link<V>, Link<V>) {
    let Some(mut node) = link else { return (None, None) };
    assert!(node.span != *at, "a range is inserted once");
    if node.span < *at {
        let (before, after) = split(node.right.take(), at);
        node.right = before;
        node.refresh();
        (Some(node), after)
    } else {
        let (before, after) = split(node.left.take(), at);
        node.left = after;
        node.refresh();
        (before, Some(node))
    }
}

/// One tree of two, all of whose ranges are in order.
fn merged<V>(before: Link<V>, after: Link<V>) -> Link<V> {
    match (before, after) {
        (None, link) | (link, None) => link,
        (Some(mut before), Some(after)) if before.priority > after.priority => {
            before.right = merged(before.right.take(), Some(after));
            before.refresh();
            Some(before)
        }
        (Some(before), Some(mut after)) => {
            after.left = merged(Some(before), after.left.take());
            after.refresh();
            Some(after)
        }
    }
}

fn removed<V>(link: Link<V>, span: &Span) -> (Link<V>, Option<V>) {
    let Some(mut node) = link else { return (None, None) };
    let value = match span.cmp(&node.span) {
        std::cmp::Ordering::Equal => {
            let Node { value, left, right, .. } = *node;
            return (merged(left, right), Some(value));
        }
        std::cmp::Ordering::Less => {
            let (left, value) = removed(node.left.take(), span);
            node.left = left;
            value
        }
        std::cmp::Ordering::Greater => {
            let (right, value) = removed(node.right.take(), span);
            node.right = right;
            value
        }
    };
    node.refresh();
    (Some(node), value)
}

fn stab<'a, V>(link: &'a Link<V>, key: &[u8], visit: &mut dyn FnMut(&'a V)) {
    let Some(node) = link else { return };
    if !node.farthest.is_after(key) {
        return;
    }
    stab(&node.left, key, visit);
    if node.span.start.as_ref() <= key {
        if node.span.end.is_after(key) {
            visit(&node.value);
        }
        stab(&node.right, key, visit);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn depth<V>(link: &Link<V>) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    fn span(start: u64, end: u64) -> Span {
        let end = if end > 99 { SpanEnd::Never } else { SpanEnd::Before(Bytes::from(format!("{end:02}"))) };
        Span { start: Bytes::from(format!("{start:02}")), end }
    }

    #[test]
    fn finds_what_a_plain_list_finds_while_ranges_come_and_go() {
        for seed in 0..200_u64 {
            let mut draws = (seed * 1_000_000..).map(mixed);
            let mut draw = |below: u64| draws.next().expect("endless") % below;
            let mut map = IntervalMap::new();
            let mut list: BTreeMap<Span, u64> = BTreeMap::new();
            for step in 0..120 {
                let start = draw(100);
                let span = span(start, start + 1 + draw(40));
                match list.remove(&span) {
                    Some(value) => assert_eq!(map.remove(&span), Some(value), "seed {seed} step {step}"),
                    None => {
                        map.insert(span.clone(), step);
                        list.insert(span, step);
                    }
                }
                let key = format!("{:02}", draw(100)).into_bytes();
                let mut found = Vec::new();
                map.visit(&key, &mut |value| found.push(*value));
                let holds = |span: &Span| span.start.as_ref() <= key.as_slice() && span.end.is_after(&key);
                let wanted: Vec<u64> = list.iter().filter(|(span, _)| holds(span)).map(|(_, value)| *value).collect();
                assert_eq!(found, wanted, "seed {seed} step {step}");
            }
        }
    }

    #[test]
    fn stays_shallow_when_ranges_arrive_in_order() {
        let mut map = IntervalMap::new();
        for n in 0..10_000_u32 {
            let start = Bytes::from(format!("{n:05}"));
            map.insert(Span { start, end: SpanEnd::Never }, n);
        }
        assert!(depth(&map.root) < 50, "{}", depth(&map.root));
    }

    #[test]
    fn what_is_not_there_is_not_removed() {
        let mut map = IntervalMap::new();
        map.insert(span(1, 5), 'a');
        assert_eq!(map.remove(&span(1, 6)), None);
        assert_eq!(map.get_mut(&span(1, 5)), Some(&mut 'a'));
        assert_eq!(map.remove(&span(1, 5)), Some('a'));
        assert_eq!(map.get_mut(&span(1, 5)), None);
    }
}
