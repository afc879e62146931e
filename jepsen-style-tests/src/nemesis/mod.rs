//! What is done to a cluster: which faults there are, and when which of them strikes.
//!
//! ```text
//!   seed --> swarm::Plan   shape of the cluster, classes in play, blows with times and ends      pure
//!   blow + who leads now --> Fault   concrete: these nodes, these links, this much               pure
//!   Fault --> World::strike, later World::lift                                                   the world's
//!   standing   what stands now, as a world needs it: the union of all cuts, the worst loss
//! ```
//!
//! To add a fault: a variant of [`Fault`] and one of [`Class`] (`fault.rs`; the compiler then leads to the rest), how
//! it is drawn (`blow.rs`), and an arm in `strike` and `lift` of each world that can do it.

mod blow;
mod cut;
mod dice;
mod fault;
mod standing;
pub mod swarm;

pub use blow::{Blow, Scene};
pub use cut::Cut;
pub use dice::Dice;
pub use fault::{Class, Fault, Fleet, Place, Stop, SyncFailure};
pub use standing::{Links, Standing};
pub use swarm::{AtCuts, Plan, Scope, Shape};
