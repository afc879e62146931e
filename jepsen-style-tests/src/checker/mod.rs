//! What must be true of what was seen. One property a file, each a pure function of a record: no cluster, no clock.
//!
//! ```text
//!   linearizable  every operation seems to happen at one moment between its call and its return
//!   model         what is checked against: a state and its steps
//!   monotonic     terms and applied revisions do not go back; a term has one leader
//!   serializable  transactions over lists seem to happen one after another: no cycle of who came before whom
//! ```

pub mod linearizable;
pub mod model;
pub mod monotonic;
pub mod serializable;
