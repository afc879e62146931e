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
//!   set           what was added to a set is in every later look at it, and nothing else
//!   watch         the nine properties of a watch, against what really happened
//!   lease         leases never end early, never come back, and end at last
//!   lock          a register under a lock loses no update
//!   past          reads at old revisions show what was so, until a compaction and not after it
//!   log_matching  at one place of the log all members applied one entry
//!   convergence   at rest all members have the same history
//!   liveness      a majority that is left alone agrees, soon
//! ```
//!
//! To add one: a file with the record it judges, a `check` that returns every violation it finds, and tests that give
//! it a right record and a wrong one for each way to be wrong; its line above; and a workload, or the campaign, that
//! asks it.

pub mod convergence;
pub mod durability;
pub mod lease;
pub mod linearizable;
pub mod liveness;
pub mod lock;
pub mod log_matching;
pub mod model;
pub mod monotonic;
pub mod past;
pub mod promises;
pub mod revisions;
pub mod serializable;
pub mod set;
pub mod watch;
