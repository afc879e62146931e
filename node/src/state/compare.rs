//! The conditions of a transaction.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use holdfast_proto::etcdserverpb::Compare;
use holdfast_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

use super::halt::Halt;
use crate::mvcc::{self, At, Head};
use crate::storage::View;
use crate::types::KeyRange;

/// Whether all conditions hold in `view`.
pub(super) fn hold(view: &dyn View, compares: &[Compare]) -> Result<bool, Halt> {
    for compare in compares {
        if !holds(view, compare)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A condition on a range must hold for each of its keys. Where there is no key, the numbers are compared with 0, but
/// a value is not compared with the empty one: a condition on a value that is not there never holds.
fn holds(view: &dyn View, compare: &Compare) -> Result<bool, Halt> {
    let keys = KeyRange::from_wire(compare.key.clone(), compare.range_end.clone());
    let (mut all_hold, mut any_key) = (true, false);
    mvcc::walk(view, &keys, At::Newest, &mut |key, head| {
        any_key = true;
        all_hold = is_met(compare, order_of_key(view, compare, key, &head)?);
        Ok::<_, Halt>(if all_hold { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if any_key {
        return Ok(all_hold);
    }
    Ok(target_of(compare) != Some(CompareTarget::Value) && is_met(compare, 0.cmp(&number_of(compare))))
}

/// How the key stands to what it is compared with.
fn order_of_key(view: &dyn View, compare: &Compare, key: &[u8], head: &Head) -> Result<Ordering, Halt> {
    let number = match target_of(compare) {
        None => return Ok(Ordering::Equal),
        Some(CompareTarget::Value) => {
            let value = mvcc::value_of(view, key, head)?.value;
            return Ok(match &compare.target_union {
                Some(TargetUnion::Value(wanted)) => value.cmp(wanted),
                _ => value.as_ref().cmp(b""),
            });
        }
        Some(CompareTarget::Version) => head.version,
        Some(CompareTarget::Create) => head.create_revision.0,
        Some(CompareTarget::Mod) => head.mod_rev.main.0,
        Some(CompareTarget::Lease) => head.lease.map_or(0, |lease| lease.0),
    };
    Ok(number.cmp(&number_of(compare)))
}

/// The number given, which counts only if it is of the kind that is compared; else 0.
fn number_of(compare: &Compare) -> i64 {
    match (target_of(compare), &compare.target_union) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(number)))
        | (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(number)))
        | (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(number)))
        | (Some(CompareTarget::Lease), Some(TargetUnion::Lease(number))) => *number,
        _ => 0,
    }
}

/// `None` for a number outside the enum: etcd calls anything equal by such a target.
fn target_of(compare: &Compare) -> Option<CompareTarget> {
    CompareTarget::try_from(compare.target).ok()
}

/// A result outside the enum is always met, as in etcd.
fn is_met(compare: &Compare, order: Ordering) -> bool {
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
