//! Transactions: conditions first, all of them, then the operations of the branches they chose.
//!
//! ```text
//!   TxnRequest --- plan: every compare on the way, against the state before the transaction ---> Plan
//!   Plan       --- check: may the puts, and then the ranges, be carried out? ---> the reason that is named
//!   Plan       --- run: the steps in order, each seeing what the ones before it wrote ---------> TxnResponse
//! ```
//!
//! A step that is refused takes the whole transaction back.

use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::response_op::Response;
use holdfast_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};

use super::halt::Halt;
use super::revising::Revising;
use super::{command, compare};
use crate::env::planted;
use crate::mvcc::{Horizon, Overlay, ReadError};
use crate::storage::View;

/// The branches that will be taken.
struct Plan<'r> {
    succeeded: bool,
    steps: Vec<Step<'r>>,
}

enum Step<'r> {
    Range(&'r RangeRequest),
    Put { request: &'r PutRequest, checksum: u32 },
    DeleteRange(&'r DeleteRangeRequest),
    Txn(Plan<'r>),
}

/// `checksums` has one for each put of the transaction, those of the branches not taken included.
pub(super) fn run(revising: &mut Revising<'_, '_>, txn: &TxnRequest, checksums: &[u32]) -> Result<TxnResponse, Halt> {
    let view: &dyn View = if planted!(CompareBeforeBatch) { revising.view().base() } else { revising.view() };
    let plan = plan(view, txn, checksums)?;
    check_puts(revising, &plan)?;
    check_ranges(revising, &plan)?;
    let mut response = run_plan(revising, &plan)?;
    response.header = revising.header();
    Ok(response)
}

fn plan<'r>(view: &dyn View, txn: &'r TxnRequest, checksums: &[u32]) -> Result<Plan<'r>, Halt> {
    let succeeded = compare::hold(view, &txn.compare)?;
    let (of_success, of_failure) = checksums.split_at(command::puts_of_ops(&txn.success));
    let (ops, mut checksums) = if succeeded { (&txn.success, of_success) } else { (&txn.failure, of_failure) };
    let steps = ops.iter().map(|op| plan_step(view, op, &mut checksums)).collect::<Result<_, _>>()?;
    Ok(Plan { succeeded, steps })
}

/// Takes the step's checksums off the front.
fn plan_step<'r>(view: &dyn View, op: &'r RequestOp, checksums: &mut &[u32]) -> Result<Step<'r>, Halt> {
    let mut take = |puts| {
        let (taken, rest) = checksums.split_at(puts);
        *checksums = rest;
        taken
    };
    match &op.request {
        Some(Op::RequestRange(request)) => Ok(Step::Range(request)),
        Some(Op::RequestPut(request)) => Ok(Step::Put { request, checksum: take(1)[0] }),
        Some(Op::RequestDeleteRange(request)) => Ok(Step::DeleteRange(request)),
        Some(Op::RequestTxn(txn)) => Ok(Step::Txn(plan(view, txn, take(command::puts_of(txn)))?)),
        None => Err(Halt::Unknown),
    }
}

/// Where several steps cannot be carried out, etcd names the first put, or else the first range.
fn check_puts(revising: &Revising<'_, '_>, plan: &Plan<'_>) -> Result<(), Halt> {
    plan.steps.iter().try_for_each(|step| match step {
        Step::Put { request, .. } => revising.check_put(request),
        Step::Txn(plan) => check_puts(revising, plan),
        Step::Range(_) | Step::DeleteRange(_) => Ok(()),
    })
}

fn check_ranges(revising: &Revising<'_, '_>, plan: &Plan<'_>) -> Result<(), Halt> {
    plan.steps.iter().try_for_each(|step| match step {
        Step::Range(request) => revising.check_range(request),
        Step::Txn(plan) => check_ranges(revising, plan),
        Step::Put { .. } | Step::DeleteRange(_) => Ok(()),
    })
}

/// The header stays empty, as it does in etcd's answers for all but the outermost transaction.
fn run_plan(revising: &mut Revising<'_, '_>, plan: &Plan<'_>) -> Result<TxnResponse, Halt> {
    let mut responses = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let response = match step {
            Step::Range(request) => Response::ResponseRange(revising.range(request)?),
            Step::Put { request, checksum } => Response::ResponsePut(revising.put(request, *checksum)?),
            Step::DeleteRange(request) => Response::ResponseDeleteRange(revising.delete_range(request)?),
            Step::Txn(plan) => Response::ResponseTxn(run_plan(revising, plan)?),
        };
        responses.push(ResponseOp { response: Some(response) });
    }
    Ok(TxnResponse { header: Some(ResponseHeader::default()), succeeded: plan.succeeded, responses })
}

/// Why a transaction was not answered from a view.
#[derive(Debug, thiserror::Error)]
pub enum ReadTxnError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the transaction is not made of ranges only: propose it instead")]
    NotReadOnly,
}

/// Answers a transaction that only reads, without the log. [`super::validate::is_read_only`] says which do.
pub fn read_txn(view: &dyn View, request: &TxnRequest) -> Result<TxnResponse, ReadTxnError> {
    if !super::validate::is_read_only(request) {
        return Err(ReadTxnError::NotReadOnly);
    }
    let horizon = Horizon::load(view).map_err(ReadError::from)?;
    let mut overlay = Overlay::new(view);
    run(&mut Revising::new(&mut overlay, horizon), request, &[]).map_err(|halt| match halt {
        Halt::Read(error) => error.into(),
        Halt::Refused(_) | Halt::Unknown => ReadTxnError::NotReadOnly,
    })
}
