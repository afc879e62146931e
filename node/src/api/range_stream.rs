//! `KV.RangeStream`: the answer of a range in pieces (`mvcc/pieces.rs`), as fast as the client takes them.
//!
//! Each piece is asked for anew: whether the caller may still read the range, whether the node goes on, whether the
//! client still has time. Between two pieces nothing is held but the key at which the next one begins.

use futures::Stream;
use holdfast_proto::etcdserverpb::{RangeRequest, RangeResponse, RangeStreamResponse};
use tonic::Status;

use super::authority::permit_in;
use super::gate::{Call, Gate, Rpc, Ticket};
use super::outcome::work_died;
use super::{status, stop};
use crate::auth::{self, Asked, Caller};
use crate::mvcc::RangePieces;
use crate::rt;
use crate::state::validate;

/// What a stream reads, and for whom.
pub struct Reader {
    pub gate: Gate,
    pub request: RangeRequest,
    pub call: Call,
    /// Whose permissions count; `None` if authentication was off.
    pub asker: Option<Caller>,
    pub stopping: rt::watch::Receiver<bool>,
}

/// The pieces; the last one has the header, the count, and whether the limit cut the range.
pub fn pieces(
    mut reader: Reader,
    rpc: Rpc,
    ticket: Ticket,
) -> impl Stream<Item = Result<RangeStreamResponse, Status>> + Send {
    async_stream::stream! {
        let mut pieces = RangePieces::new(reader.request.clone());
        let mut begun = reader.begin().await;
        loop {
            let next = match begun {
                Ok(()) => reader.next(pieces).await,
                Err(status) => Err(status),
            };
            let (moved_on, piece) = match next {
                Ok(read) => read,
                Err(status) => {
                    ticket.finish(Some(&status));
                    yield Err(status);
                    return;
                }
            };
            (pieces, begun) = (moved_on, Ok(()));
            let is_last = piece.header.is_some();
            let message = RangeStreamResponse { range_response: Some(piece) };
            rpc.sent(&message);
            yield Ok(message);
            if is_last {
                ticket.finish(None);
                return;
            }
        }
    }
}

impl Reader {
    async fn begin(&self) -> Result<(), Status> {
        validate::range_stream(&self.request)?;
        self.gate.ops().state_metrics().ranges.inc();
        if !self.request.serializable {
            self.gate.read_barrier(&self.call).await?;
        }
        Ok(())
    }

    async fn next(&mut self, mut pieces: RangePieces) -> Result<(RangePieces, RangeResponse), Status> {
        if self.call.patience.has_passed() {
            return Err(status::timed_out());
        }
        // A state that was replaced from a snapshot in between goes on in the new one, at the same revision.
        let engine = self.gate.ops().store().engine();
        let (request, asker) = (self.request.clone(), self.asker.clone());
        let read = rt::blocking(move || {
            let view = engine.view();
            if let Some(asker) = &asker {
                permit_in(&*view, asker, &auth::needs_of(Asked::Range(&request)))?;
            }
            let piece = pieces.next(&*view)?;
            Ok::<_, Status>((pieces, piece))
        });
        let (pieces, mut piece) = tokio::select! {
            biased;
            () = stop::requested(&mut self.stopping) => return Err(status::stopped()),
            read = read => read.map_err(work_died)??,
        };
        // A token is good for the whole answer; what it may read is asked each time.
        self.asker = self.asker.as_ref().map(Caller::at_any_revision);
        if piece.header.is_some() {
            self.gate.complete(&mut piece.header);
        }
        Ok((pieces, piece))
    }
}
