//! Differences that are meant, and why. The only place where one is excused; each is counted in the report.

use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{Member, MemberUpdateResponse, TxnRequest, WatchResponse};
use tonic::Code;

use super::generate::Step;
use super::request::{Answer, Reply, Request};
use super::ties::same_but_for_ties;
use super::{Difference, Outcome};

pub struct Known {
    pub name: &'static str,
    pub reason: &'static str,
    pub is: fn(&Difference) -> bool,
}

/// What a caller hears who is not recognised, or may not do it.
const TURNED_AWAY: [&str; 3] =
    ["etcdserver: invalid auth token", "etcdserver: user name is empty", "etcdserver: permission denied"];

pub const KNOWN: [Known; 11] = [
    Known {
        name: "order of ties",
        reason: "etcd sorts unstably: where the target of a sorting is equal, the order is left open; Holdfast's is \
                 that of the keys",
        is: |difference| match (&difference.step, answers(difference)) {
            (Step::Ask(request), Some((Answer::Given(one), Answer::Given(other)))) => {
                same_but_for_ties(request, one, other)
            }
            _ => false,
        },
    },
    Known {
        name: "sort order that does not exist",
        reason: "etcd 3.5.1 takes it for no order; later versions refuse it, and so does Holdfast",
        is: |difference| {
            matches!(&difference.step, Step::Ask(Request::Range(range)) if !(0..=2).contains(&range.sort_order))
                && is_refused(&difference.holdfast, "etcdserver: invalid sort option")
        },
    },
    Known {
        name: "member added twice within a second",
        reason: "etcd makes ids of URLs and the second, and says `member ID already exist` if both are equal; Holdfast \
                 always says `Peer URLs already exists`",
        is: |difference| {
            is_refused(&difference.etcd, "etcdserver: member ID already exist")
                && is_refused(&difference.holdfast, "etcdserver: Peer URLs already exists")
        },
    },
    Known {
        name: "message above the limit of the wire",
        reason: "the libraries have other words for a message that is larger than the server reads: grpc-go says \
                 `received message larger than max`, tonic `decoded message length too large`",
        is: |difference| {
            matches!(answers(difference), Some((
                Answer::Refused { code: Code::ResourceExhausted, message: etcd },
                Answer::Refused { code: Code::OutOfRange, message: holdfast },
            )) if etcd.contains("received message larger than max") && holdfast.contains("message length too large"))
        },
    },
    Known {
        name: "learner whose peer URLs are updated",
        reason: "etcd forgets that it is a learner and shows a voter, which it is not; Holdfast shows a learner",
        is: |difference| {
            matches!(answers(difference), Some((Answer::Given(etcd), Answer::Given(holdfast)))
                if matches!((&**etcd, &**holdfast), (Reply::MemberUpdate(etcd), Reply::MemberUpdate(holdfast))
                    if etcd.header == holdfast.header && without_learners(etcd) == without_learners(holdfast)))
        },
    },
    Known {
        name: "two reasons to refuse a lease",
        reason: "a TTL that is too large, while there is no space: etcd looks at the space first",
        is: |difference| {
            matches!(&difference.step, Step::Ask(Request::LeaseGrant(_)))
                && is_refused(&difference.etcd, "etcdserver: mvcc: database space exceeded")
                && is_refused(&difference.holdfast, "etcdserver: too large lease TTL")
        },
    },
    Known {
        name: "hash at the compacted revision",
        reason: "etcd 3.5.1 refuses it; later versions answer, and so does Holdfast",
        is: |difference| {
            matches!(&difference.step, Step::Ask(Request::HashKv(_)))
                && is_refused(&difference.etcd, "etcdserver: mvcc: required revision has been compacted")
                && matches!(&difference.holdfast, Outcome::Answer(Answer::Given(reply))
                    if matches!(&**reply, Reply::HashKv(hash) if asked_revision(difference) == hash.compact_revision))
        },
    },
    Known {
        name: "nested reads under a corruption alarm",
        reason: "etcd takes every nested transaction for a write, which that alarm refuses; to Holdfast, one that only \
                 reads is a read, which it does not",
        is: |difference| {
            matches!(&difference.step, Step::Ask(Request::Txn(txn)) if reads_only(txn))
                && is_refused(&difference.etcd, "etcdserver: corrupt cluster")
        },
    },
    Known {
        name: "watch that is turned away",
        reason: "etcd 3.5.1 gives back the id that was asked for, and says `permission denied` whatever the reason; \
                 later versions say -1 and the reason, and so does Holdfast",
        is: |difference| match (&difference.etcd, &difference.holdfast) {
            (Outcome::WatchReply(Some(etcd)), Outcome::WatchReply(Some(holdfast))) => {
                let cancel_reason = holdfast.cancel_reason.clone();
                let is_reason = TURNED_AWAY.iter().any(|words| cancel_reason.ends_with(words));
                let renamed = WatchResponse { watch_id: -1, cancel_reason, ..(**etcd).clone() };
                is_reason && etcd.cancel_reason.ends_with("etcdserver: permission denied") && renamed == **holdfast
            }
            _ => false,
        },
    },
    Known {
        name: "transaction that touches nothing",
        reason: "it tells the revision: etcd tells anybody, Holdfast a user",
        is: |difference| {
            matches!(&difference.step, Step::Ask(Request::Txn(txn)) if *txn == TxnRequest::default())
                && is_refused(&difference.holdfast, "etcdserver: user name is empty")
        },
    },
    Known {
        name: "two reasons to turn a request away",
        reason: "no user, or a token that is not good, with a request that is not valid: etcd looks at the request \
                 first",
        is: |difference| {
            TURNED_AWAY[..2].iter().any(|text| is_refused(&difference.holdfast, text))
                && matches!(&difference.etcd, Outcome::Answer(Answer::Refused { code: Code::InvalidArgument, message })
                    if !TURNED_AWAY.contains(&message.as_str()))
        },
    },
];

/// Not of an answer: the reference is gone, and with it the rest of the round.
pub const ETCD_ENDED: Known = Known {
    name: "etcd ends",
    reason: "a transaction that deletes a range up to the last key and then keeps the value or the lease of one of the \
             deleted keys ends etcd, at each of its starts again; Holdfast answers `key not found`",
    is: |difference| {
        matches!(&difference.step, Step::Ask(Request::Txn(_)))
            && is_refused(&difference.holdfast, "etcdserver: key not found")
    },
};

/// The stores may have parted: the rest of the round is left.
pub const ETCD_REMEMBERS: Known = Known {
    name: "roles that are gone",
    reason: "etcd 3.5.1 may remember what a user without roles was permitted before, and permits it still; later \
             versions do not, and neither does Holdfast",
    is: |difference| {
        is_refused(&difference.holdfast, "etcdserver: permission denied")
            && matches!(&difference.etcd, Outcome::Answer(Answer::Given(_)))
    },
};

pub fn known(difference: &Difference) -> Option<&'static Known> {
    KNOWN.iter().find(|known| (known.is)(difference))
}

fn is_refused(outcome: &Outcome, text: &str) -> bool {
    matches!(outcome, Outcome::Answer(Answer::Refused { message, .. }) if message == text)
}

fn answers(difference: &Difference) -> Option<(&Answer, &Answer)> {
    match (&difference.etcd, &difference.holdfast) {
        (Outcome::Answer(etcd), Outcome::Answer(holdfast)) => Some((etcd, holdfast)),
        _ => None,
    }
}

fn reads_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Op::RequestRange(_)) => true,
        Some(Op::RequestTxn(nested)) => reads_only(nested),
        _ => false,
    })
}

fn asked_revision(difference: &Difference) -> i64 {
    match &difference.step {
        Step::Ask(Request::HashKv(asked)) => asked.revision,
        _ => 0,
    }
}

fn without_learners(reply: &MemberUpdateResponse) -> Vec<Member> {
    reply.members.iter().map(|member| Member { is_learner: false, ..member.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_in_the_page_for_users() {
        let page = include_str!("../../../docs/COMPATIBILITY.md");
        for known in KNOWN.iter().chain([&ETCD_ENDED, &ETCD_REMEMBERS]) {
            assert!(page.contains(&format!("| {} |", known.name)), "{} is not in docs/COMPATIBILITY.md", known.name);
        }
    }
}
