//! The tests of mvcc, lease and state together, through the door that the log uses.
//!
//! ```text
//! script.rs    golden scripts: tests/scripts/{mvcc,txn,lease}/*.txt, commands with the answers they gave
//! world.rs     what a script talks to: a state, a machine, a lease table, a clock
//! parse.rs     commands to requests        show.rs    answers to text
//! model.rs     the same store, written naively        random.rs   random commands
//! against_model.rs, grouping.rs, duplicates.rs        properties, by seed
//! ```

mod against_model;
mod duplicates;
mod grouping;
mod machine;
mod model;
mod parse;
mod random;
mod script;
mod show;
mod world;

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::mvcc::tests::engine;
use crate::storage::{Column, Scan, View};

/// Every row, in order.
fn rows(view: &dyn View, column: Column) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    view.scan(column, Scan { from: b"", to: None, backwards: false }, &mut |key, value| {
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows
}
