//! A set of changes that become visible and durable together.

use bytes::Bytes;

use super::Column;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchOp {
    Put { column: Column, key: Bytes, value: Bytes },
    Delete { column: Column, key: Bytes },
}

/// Changes in the order they were made: a later one to the same key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    ops: Vec<BatchOp>,
}

impl Batch {
    pub fn put(&mut self, column: Column, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push(BatchOp::Put { column, key: key.into(), value: value.into() });
    }

    pub fn delete(&mut self, column: Column, key: impl Into<Bytes>) {
        self.ops.push(BatchOp::Delete { column, key: key.into() });
    }

    pub fn ops(&self) -> &[BatchOp] {
        &self.ops
    }

    pub fn into_ops(self) -> Vec<BatchOp> {
        self.ops
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
