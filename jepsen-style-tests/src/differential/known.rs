//! Differences that are meant, and why. The only place where one is excused; each is counted in the report.

use holdfast_proto::etcdserverpb::request_op::Request as Op;
use holdfast_proto::etcdserverpb::{Member, MemberUpdateResponse, TxnRequest};
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

pub const KNOWN: [Known; 8] = [
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
        for known in KNOWN.iter().chain([&ETCD_ENDED]) {
            assert!(page.contains(&format!("| {} |", known.name)), "{} is not in docs/COMPATIBILITY.md", known.name);
        }
    }
}
