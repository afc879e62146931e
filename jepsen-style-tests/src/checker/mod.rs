//! What must be true of what was seen. One property a file, each a pure function of a record: no cluster, no clock.
//!
//! ```text
//!   linearizable  every operation seems to happen at one moment between its call and its return
//!   model         what is checked against: a state and its steps
//!   monotonic     terms and applied revisions do not go back; a term has one leader
//!   promises      what members promise one another: votes, logs, leaders, what is committed; while it happens
//!   revisions     the store's revision is one counter for everybody, over all keys
//!   serializable  transactions over lists seem to happen one after another: no cycle of who came before whom
//!   durability    what was acknowledged is there
//! ```
//!
//! To add one: a file with the record it judges, a `check` that returns every violation it finds, and tests that give
//! it a right record and a wrong one for each way to be wrong; its line above; and a workload, or the campaign, that
//! asks it.

pub mod durability;
pub mod linearizable;
pub mod model;
pub mod monotonic;
pub mod promises;
pub mod revisions;
pub mod serializable;
