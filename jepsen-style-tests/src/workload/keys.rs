//! Keys that are retired: a history of one key stays short enough to be judged.
//!
//! An operation of unknown fate stays open to the end of time, and a search for an order has to think of each one at
//! every step. So a slot moves on to a fresh key after some of them, or after many operations.

use std::sync::Arc;

use parking_lot::Mutex;

const UNKNOWNS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    generation: u32,
    operations: u32,
    unknowns: u32,
}

/// Clones share the slots.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: &'static str,
    operations_max: u32,
    slots: Arc<Mutex<Vec<Slot>>>,
}

impl Keys {
    pub fn new(prefix: &'static str, slots: usize, operations_max: u32) -> Self {
        Self { prefix, operations_max, slots: Arc::new(Mutex::new(vec![Slot::default(); slots])) }
    }

    pub fn slots(&self) -> usize {
        self.slots.lock().len()
    }

    /// The slot's present key, for one more operation.
    pub fn take(&self, slot: usize) -> String {
        let mut slots = self.slots.lock();
        let Slot { generation, operations, unknowns } = &mut slots[slot];
        if *operations >= self.operations_max || *unknowns >= UNKNOWNS_MAX {
            (*generation, *operations, *unknowns) = (*generation + 1, 0, 0);
        }
        *operations += 1;
        format!("{}/{slot}/{generation}", self.prefix)
    }

    /// A write of unknown fate went to the slot.
    pub fn note_unknown(&self, slot: usize) {
        self.slots.lock()[slot].unknowns += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_retired_after_many_operations_or_some_of_unknown_fate() {
        let keys = Keys::new("k", 2, 5);
        for _ in 0..5 {
            assert_eq!(keys.take(1), "k/1/0");
        }
        assert_eq!((keys.take(1), keys.take(0)), ("k/1/1".to_owned(), "k/0/0".to_owned()));
        (0..UNKNOWNS_MAX).for_each(|_| keys.note_unknown(0));
        assert_eq!(keys.take(0), "k/0/1");
    }
}
