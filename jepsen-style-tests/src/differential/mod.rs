//! The differential test: what no list of ours names. The same random requests, valid and invalid, go to a real etcd
//! and to Holdfast, one node each; every answer and every error is compared field by field.
//!
//! ```text
//!   generate   seed, and the reference's answers so far  ->  the next step
//!   request    the calls of the API · watching  streams of watchers · side  one server, asked
//!   normal     takes out what must differ: ids, terms, bytes, clocks
//!   run        a round: two fresh servers, a number of steps, the first difference that is not known
//!   known      differences that are meant, each with its reason
//!   reference  which etcd · report  what was asked, how often it was refused, which differences were met
//! ```
//!
//! A seed and a number of requests name a run: the same seed asks the same things, as long as the reference answers
//! the same. Revisions must be equal throughout, so one missed write shows in everything after it.

mod command;
mod generate;
mod known;
mod normal;
mod reference;
mod report;
mod request;
mod run;
mod show;
mod side;
mod ties;
mod watching;

use generate::{Step, Who};

pub use command::main;
pub use reference::reference;
pub use report::Report;
pub use run::{Found, Options, run};

/// A step that went differently on the two sides.
#[derive(Clone, Debug)]
pub struct Difference {
    pub who: Who,
    pub step: Step,
    pub etcd: Outcome,
    pub holdfast: Outcome,
}

/// How a step went on one side.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Answer(request::Answer),
    /// The answer to a watch request, if one came.
    WatchReply(Option<Box<holdfast_proto::etcdserverpb::WatchResponse>>),
    /// What watchers were told, by stream and watcher.
    Told(Vec<(usize, i64, Vec<watching::Told>)>),
    /// Streams that ended, with the status.
    Ended(Vec<(usize, Option<(tonic::Code, String)>)>),
}
