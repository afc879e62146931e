//! Rows of one column as they were last written, so that who writes them again need not look them up.
//!
//! Applying a put reads the key's row in `Current` before it replaces it, and under load the same keys come again and
//! again. A look-up in the engine walks a skip list of everything written since the last flush; here it is one hash.
//!
//! Only the one who applies may use it: it knows the newest rows, not those of a view. It is bounded in bytes and holds
//! two generations: when the younger one is full, the older one goes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Batch, BatchOp, Column, EngineError, Scan, View};

/// The column whose rows are remembered.
const COLUMN: Column = Column::Current;
/// What a row costs beyond its key and value, roughly.
const ROW_BYTES: usize = 96;

/// A row's content; `None` says that there is no such row.
type Row = Option<Bytes>;

/// The rows written last.
#[derive(Debug)]
pub struct Recent {
    generations: Mutex<Generations>,
    /// Of one generation.
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Bytes, Row>,
    young_bytes: usize,
    old: HashMap<Bytes, Row>,
}

/// What a batch will have written to the column.
#[derive(Debug, Default)]
pub struct Written(Vec<(Bytes, Row)>);

impl Written {
    pub fn by(batch: &Batch) -> Self {
        let rows = batch.ops().iter().filter_map(|op| match op {
            BatchOp::Put { column, key, value } if *column == COLUMN => Some((key.clone(), Some(value.clone()))),
            BatchOp::Delete { column, key } if *column == COLUMN => Some((key.clone(), None)),
            BatchOp::Put { .. } | BatchOp::Delete { .. } => None,
        });
        Self(rows.collect())
    }
}

impl Recent {
    /// Remembers rows of up to about `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { generations: Mutex::default(), bytes_max: bytes_max / 2 }
    }

    /// After the batch was written.
    pub fn remember(&self, written: Written) {
        let mut generations = self.generations.lock();
        for (key, row) in written.0 {
            generations.put(key, row, self.bytes_max);
        }
    }

    /// After the state was replaced as a whole.
    pub fn forget(&self) {
        *self.generations.lock() = Generations::default();
    }

    /// A view of the newest state that looks here first.
    pub fn over<'a>(&'a self, base: &'a dyn View) -> impl View + 'a {
        Newest { recent: self, base }
    }

    fn get(&self, key: &[u8]) -> Option<Row> {
        let generations = self.generations.lock();
        generations.young.get(key).or_else(|| generations.old.get(key)).cloned()
    }
}

impl Generations {
    fn put(&mut self, key: Bytes, row: Row, bytes_max: usize) {
        if let Some(known) = self.young.get_mut(&key) {
            *known = row;
            return;
        }
        let bytes = key.len() + row.as_ref().map_or(0, Bytes::len) + ROW_BYTES;
        if self.young_bytes + bytes > bytes_max {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        // The key may be a slice of a whole log entry, which must not stay in memory for its sake.
        self.young.insert(Bytes::copy_from_slice(&key), row);
    }
}

struct Newest<'a> {
    recent: &'a Recent,
    base: &'a dyn View,
}

impl View for Newest<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match if column == COLUMN { self.recent.get(key) } else { None } {
            Some(row) => Ok(row),
            None => self.base.get(column, key),
        }
    }

    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.base.scan(column, scan, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: &[(&str, Option<&str>)]) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(COLUMN, key.as_bytes().to_vec(), value.as_bytes().to_vec()),
                None => batch.delete(COLUMN, key.as_bytes().to_vec()),
            }
        }
        batch
    }

    #[test]
    fn the_last_write_is_what_is_remembered() {
        let recent = Recent::new(1024 * 1024);
        recent.remember(Written::by(&batch(&[("a", Some("1")), ("b", Some("1"))])));
        recent.remember(Written::by(&batch(&[("a", Some("2")), ("b", None)])));
        assert_eq!(recent.get(b"a"), Some(Some(Bytes::from("2"))));
        assert_eq!(recent.get(b"b"), Some(None), "a deleted row is known to be gone");
        assert_eq!(recent.get(b"c"), None, "nothing is known of it");
        recent.forget();
        assert_eq!(recent.get(b"a"), None);
    }

    #[test]
    fn other_columns_are_not_its_business() {
        let mut other = Batch::default();
        other.put(Column::Meta, &b"a"[..], &b"1"[..]);
        let recent = Recent::new(1024);
        recent.remember(Written::by(&other));
        assert_eq!(recent.get(b"a"), None);
    }

    #[test]
    fn old_rows_give_way_and_never_come_back_stale() {
        let recent = Recent::new(2 * 10 * (ROW_BYTES + 8));
        recent.remember(Written::by(&batch(&[("first", Some("1"))])));
        for n in 0..12 {
            recent.remember(Written::by(&batch(&[(&format!("k{n:02}"), Some("x"))])));
        }
        assert_eq!(recent.get(b"first"), Some(Some(Bytes::from("1"))), "in the older generation");
        recent.remember(Written::by(&batch(&[("first", Some("2"))])));
        assert_eq!(recent.get(b"first"), Some(Some(Bytes::from("2"))), "the younger generation goes first");
        for n in 12..60 {
            recent.remember(Written::by(&batch(&[(&format!("k{n:02}"), Some("x"))])));
        }
        assert_eq!(recent.get(b"first"), None);
        let generations = recent.generations.lock();
        let held = generations.young.len() + generations.old.len();
        assert!(held <= 20, "{held} rows are held");
    }
}
