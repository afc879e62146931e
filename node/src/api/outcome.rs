//! From a command to its answer: proposing, taking the outcome apart, completing the header.

use holdfast_proto::etcdserverpb::ResponseHeader;
use holdfast_proto::log::Command;
use holdfast_proto::log::outcome::Result as Outcome;
use tonic::Status;

use super::gate::{Call, Gate};
use super::status;
use crate::types::Revision;

impl Gate {
    /// Proposes a command and takes the answer that fits it out of the outcome.
    pub async fn propose<A>(
        &self,
        mut command: Command,
        call: &Call,
        answer_of: fn(Outcome) -> Option<A>,
    ) -> Result<A, Status> {
        if call.request_bytes > self.ops().limits().request_bytes_max {
            return Err(status::request_too_large());
        }
        command.caller = call.caller.to_wire();
        let outcome = self.ops().propose(command, call.deadline).await.map_err(|error| {
            self.raft_metrics().proposals_failed.inc();
            Status::from(error)
        })?;
        match outcome.result {
            Some(Outcome::Refusal(refusal)) => Err(status::of_refusal(&refusal)),
            Some(result) => answer_of(result).ok_or_else(status::unexpected_outcome),
            None => Err(status::unexpected_outcome()),
        }
    }

    /// The outermost header: the revision is the one that was answered from, the rest is who answers.
    pub fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.ops().header_at(Revision(revision)));
    }

    /// Resolves when a read from this member's state is linearizable.
    pub async fn read_barrier(&self, call: &Call) -> Result<(), Status> {
        self.ops().read_barrier(call.deadline).await.map_err(|error| {
            self.raft_metrics().read_indexes_failed.inc();
            Status::from(error)
        })
    }
}

/// Work that blocks has died: a panic, which the log has.
pub fn work_died(error: std::io::Error) -> Status {
    Status::internal(format!("holdfast: {error}"))
}
