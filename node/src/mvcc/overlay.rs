//! A view with changes on top that are not written yet.
//!
//! Apply takes several commands at once and writes them as one batch; each must see what the ones before it did. The
//! overlay holds their changes in memory, row by row, and answers reads from the two together.
//!
//! A command that is refused half-way leaves nothing behind: [`Overlay::rollback`] undoes everything since the last
//! [`Overlay::savepoint`].

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::storage::{Batch, Column, EngineError, Scan, View};

/// The new content of a row; `None` says that it is deleted.
type Change = Option<Bytes>;

/// A view and the changes since.
pub struct Overlay<'v> {
    base: &'v dyn View,
    /// By column, in the order of [`Column::ALL`].
    changes: [BTreeMap<Bytes, Change>; Column::ALL.len()],
    /// What the changed rows held before, newest last, back to the savepoint.
    undo: Vec<Undo>,
}

struct Undo {
    column: Column,
    key: Bytes,
    /// `None` where the row was as in the base.
    before: Option<Change>,
}

impl<'v> Overlay<'v> {
    pub fn new(base: &'v dyn View) -> Self {
        Self { base, changes: Default::default(), undo: Vec::new() }
    }

    /// The view without the changes.
    pub fn base(&self) -> &'v dyn View {
        self.base
    }

    pub fn put(&mut self, column: Column, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.change(column, key.into(), Some(value.into()));
    }

    pub fn delete(&mut self, column: Column, key: impl Into<Bytes>) {
        self.change(column, key.into(), None);
    }

    fn change(&mut self, column: Column, key: Bytes, change: Change) {
        let before = self.changes[column as usize].insert(key.clone(), change);
        self.undo.push(Undo { column, key, before });
    }

    /// From here on, [`Overlay::rollback`] comes back to this point.
    pub fn savepoint(&mut self) {
        self.undo.clear();
    }

    /// Whether there was anything to undo.
    pub fn rollback(&mut self) -> bool {
        let wrote = !self.undo.is_empty();
        while let Some(Undo { column, key, before }) = self.undo.pop() {
            let changes = &mut self.changes[column as usize];
            match before {
                Some(before) => changes.insert(key, before),
                None => changes.remove(&key),
            };
        }
        wrote
    }

    /// The changes, one for each row, in the order of columns and keys.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (column, changes) in Column::ALL.into_iter().zip(self.changes) {
            for (key, change) in changes {
                match change {
                    Some(value) => batch.put(column, key, value),
                    None => batch.delete(column, key),
                }
            }
        }
        batch
    }
}

impl View for Overlay<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.changes[column as usize].get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(column, key),
        }
    }

    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let changes = &self.changes[column as usize];
        if changes.is_empty() {
            return self.base.scan(column, scan, visit);
        }
        if scan.to.is_some_and(|to| to <= scan.from) {
            return Ok(());
        }
        let to = scan.to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = changes.range::<[u8], _>((Bound::Included(scan.from), to));
        let mut merge = Merge { range, backwards: scan.backwards, visit, ended: false };
        self.base.scan(column, scan, &mut |key, value| merge.base_row(key, value))?;
        merge.rest();
        Ok(())
    }
}

type Visit<'f> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'f;

/// Two sorted streams as one: the rows of the base, which call in, and the changes of the range.
struct Merge<'a, 'f> {
    range: Range<'a, Bytes, Change>,
    backwards: bool,
    visit: &'f mut Visit<'f>,
    /// The visitor has seen enough.
    ended: bool,
}

impl<'a> Merge<'a, '_> {
    fn base_row(&mut self, key: &[u8], value: &[u8]) -> ControlFlow<()> {
        while let Some((changed, change)) = self.next_change_up_to(key) {
            if changed == key {
                return self.show(changed, change.as_deref());
            }
            self.show(changed, change.as_deref())?;
        }
        self.show(key, Some(value))
    }

    /// The changes behind the last row of the base.
    fn rest(&mut self) {
        while !self.ended {
            let next = if self.backwards { self.range.next_back() } else { self.range.next() };
            let Some((key, change)) = next else { return };
            let _ = self.show(key, change.as_deref());
        }
    }

    fn next_change_up_to(&mut self, key: &[u8]) -> Option<(&'a Bytes, &'a Change)> {
        let mut ahead = self.range.clone();
        let next = if self.backwards { ahead.next_back() } else { ahead.next() }?;
        let is_due = if self.backwards { next.0.as_ref() >= key } else { next.0.as_ref() <= key };
        if is_due {
            self.range = ahead;
        }
        is_due.then_some(next)
    }

    fn show(&mut self, key: &[u8], value: Option<&[u8]>) -> ControlFlow<()> {
        let flow = value.map_or(ControlFlow::Continue(()), |value| (self.visit)(key, value));
        self.ended |= flow.is_break();
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(view: &dyn View, from: &[u8], to: Option<&[u8]>, backwards: bool, at_most: usize) -> String {
        let mut shown = Vec::new();
        view.scan(Column::Current, Scan { from, to, backwards }, &mut |key, value| {
            shown.push(format!("{}={}", key.escape_ascii(), value.escape_ascii()));
            if shown.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        shown.join(" ")
    }

    fn put(overlay: &mut Overlay<'_>, row: &'static str) {
        let (key, value) = row.split_once('=').unwrap();
        overlay.put(Column::Current, key.as_bytes(), value.as_bytes());
    }

    #[test]
    fn reads_merge_the_base_and_the_changes() {
        let empty = crate::mvcc::tests::engine();
        let view = empty.view();
        let mut base = Overlay::new(&*view);
        for row in ["b=1", "d=1", "f=1"] {
            put(&mut base, row);
        }
        let mut overlay = Overlay::new(&base);
        assert_eq!(rows(&overlay, b"", None, false, 9), "b=1 d=1 f=1");
        for row in ["a=2", "d=2", "e=2", "g=2"] {
            put(&mut overlay, row);
        }
        overlay.delete(Column::Current, &b"b"[..]);

        assert_eq!(rows(&overlay, b"", None, false, 9), "a=2 d=2 e=2 f=1 g=2");
        assert_eq!(rows(&overlay, b"", None, true, 9), "g=2 f=1 e=2 d=2 a=2");
        assert_eq!(rows(&overlay, b"b", Some(b"f"), false, 9), "d=2 e=2");
        assert_eq!(rows(&overlay, b"f", Some(b"b"), false, 9), "", "an end before the start");
        for at_most in 1..5 {
            assert_eq!(rows(&overlay, b"", None, false, at_most).split(' ').count(), at_most);
            assert_eq!(rows(&overlay, b"", None, true, at_most).split(' ').count(), at_most);
        }
        assert_eq!(overlay.get(Column::Current, b"b").unwrap(), None);
        assert_eq!(overlay.get(Column::Current, b"d").unwrap().unwrap().as_ref(), b"2");
        assert_eq!(overlay.get(Column::Current, b"f").unwrap().unwrap().as_ref(), b"1");
    }

    #[test]
    fn a_rollback_comes_back_to_the_savepoint_and_no_further() {
        let empty = crate::mvcc::tests::engine();
        let view = empty.view();
        let mut overlay = Overlay::new(&*view);
        put(&mut overlay, "a=1");
        put(&mut overlay, "b=1");
        overlay.savepoint();
        put(&mut overlay, "a=2");
        put(&mut overlay, "a=3");
        put(&mut overlay, "c=1");
        overlay.delete(Column::Current, &b"b"[..]);
        overlay.rollback();
        assert_eq!(rows(&overlay, b"", None, false, 9), "a=1 b=1");
        assert_eq!(overlay.into_batch().ops().len(), 2, "an undone row is not written at all");
    }
}
