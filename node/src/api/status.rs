//! The one map from what went wrong to what a client is told.
//!
//! Codes and texts are etcd's wherever etcd has the case (its table is `api/v3rpc/rpctypes`): clients compare them word
//! for word, and decide by the code whether to ask again. What etcd has no words for begins with `holdfast:`.
//!
//! A write that may have happened is never answered with a text that says it did not.

use holdfast_proto::log::Refusal;
use holdfast_proto::log::refusal::Reason;
use tonic::{Code, Status};

use crate::auth::Denied;
use crate::mvcc::ReadError;
use crate::ops::{OpsError, REFUSED};
use crate::raft::MemberRefusal;
use crate::state::ReadTxnError;
use crate::state::validate::InvalidRequest;
use crate::storage::{CheckpointError, EngineError};
use crate::watch::WatchError;

/// Makes a status of a code and one of etcd's texts.
macro_rules! texts {
    ($($name:ident = $code:ident, $text:literal;)*) => {
        $(pub fn $name() -> Status { Status::new(Code::$code, $text) })*

        #[cfg(test)]
        const TEXTS: &[(fn() -> Status, Code, &str)] = &[$(($name, Code::$code, $text)),*];
    };
}

texts! {
    key_not_provided = InvalidArgument, "etcdserver: key is not provided";
    key_not_found = InvalidArgument, "etcdserver: key not found";
    value_provided = InvalidArgument, "etcdserver: value is provided";
    lease_provided = InvalidArgument, "etcdserver: lease is provided";
    too_many_operations = InvalidArgument, "etcdserver: too many operations in txn request";
    duplicate_key = InvalidArgument, "etcdserver: duplicate key given in txn request";
    invalid_sort_option = InvalidArgument, "etcdserver: invalid sort option";
    request_too_large = InvalidArgument, "etcdserver: request is too large";
    stream_sorted = Unimplemented, "RangeStream does not support custom sort orders";
    stream_filtered = Unimplemented, "RangeStream does not support revision filters";
    bad_member_urls = InvalidArgument, "etcdserver: given member URLs are invalid";
    bad_guard = InvalidArgument,
        "holdfast: a guard is a key or a name, and the token (a revision above 0): give both, or neither";
    bad_downgrade_version = InvalidArgument, "etcdserver: wrong downgrade target version format";
    bad_downgrade_target = InvalidArgument, "etcdserver: invalid downgrade target version";
    user_empty = InvalidArgument, "etcdserver: user name is empty";
    role_empty = InvalidArgument, "etcdserver: role name is empty";
    auth_failed = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    old_auth_revision = InvalidArgument, "etcdserver: revision of auth store is old";
    permission_not_given = InvalidArgument, "etcdserver: permission not given";
    invalid_auth_management = InvalidArgument, "etcdserver: invalid auth management";
    password_too_long = InvalidArgument, "holdfast: a password has at most 72 bytes";
    compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    future_revision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    lease_ttl_too_large = OutOfRange, "etcdserver: too large lease TTL";
    no_space = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    too_many_requests = ResourceExhausted, "etcdserver: too many requests";
    lease_not_found = NotFound, "etcdserver: requested lease not found";
    member_not_found = NotFound, "etcdserver: member not found";
    unknown_service = NotFound, "holdfast: no service of this name is served here";
    lease_exists = FailedPrecondition, "etcdserver: lease already exists";
    member_id_exists = FailedPrecondition, "etcdserver: member ID already exist";
    peer_urls_exist = FailedPrecondition, "etcdserver: Peer URLs already exists";
    too_few_started = FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    not_a_learner = FailedPrecondition, "etcdserver: can only promote a learner member";
    learner_not_ready = FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader";
    too_many_learners = FailedPrecondition, "etcdserver: too many learner members in cluster";
    not_leader = FailedPrecondition, "etcdserver: not leader";
    bad_transferee = FailedPrecondition, "etcdserver: bad leader transferee";
    refused_by_learner = FailedPrecondition, "etcdserver: rpc not supported for learner";
    no_downgrade = FailedPrecondition, "etcdserver: no inflight downgrade job";
    unknown_method = Unknown, "etcdserver: unknown method";
    fenced = FailedPrecondition, "holdfast: the guard does not hold";
    root_user_missing = FailedPrecondition, "etcdserver: root user does not exist";
    root_role_missing = FailedPrecondition, "etcdserver: root user does not have root role";
    user_exists = FailedPrecondition, "etcdserver: user name already exists";
    user_not_found = FailedPrecondition, "etcdserver: user name not found";
    role_exists = FailedPrecondition, "etcdserver: role name already exists";
    role_not_found = FailedPrecondition, "etcdserver: role name not found";
    role_not_granted = FailedPrecondition, "etcdserver: role is not granted to the user";
    permission_not_granted = FailedPrecondition, "etcdserver: permission is not granted to the role";
    auth_not_enabled = FailedPrecondition, "etcdserver: authentication is not enabled";
    verify_only = FailedPrecondition, "holdfast: this member checks tokens and cannot issue them: it has no priv-key";
    permission_denied = PermissionDenied, "etcdserver: permission denied";
    invalid_auth_token = Unauthenticated, "etcdserver: invalid auth token";
    corrupt = DataLoss, "etcdserver: corrupt cluster";
    no_leader = Unavailable, "etcdserver: no leader";
    leader_changed = Unavailable, "etcdserver: leader changed";
    stopped = Unavailable, "etcdserver: server stopped";
    timed_out = Unavailable, "etcdserver: request timed out";
    fate_unknown = Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    unhealthy_cluster = Unavailable, "etcdserver: unhealthy cluster";
    repairing = Unavailable, "holdfast: this member is repairing its log: ask another one";
    change_in_progress = Unavailable, "holdfast: another change of members is under way: try again in a moment";
    no_election_leader = Unknown, "election: no leader";
    not_election_leader = Unknown, "election: not leader";
    leader_missing = Unknown, "\"leader\" field must be provided";
    session_expired = Unknown, "mutex: session is expired";
    unexpected_outcome = Internal, "holdfast: the outcome does not fit the request: this is a bug, please report it";
}

impl From<InvalidRequest> for Status {
    fn from(invalid: InvalidRequest) -> Self {
        match invalid {
            InvalidRequest::EmptyKey => key_not_provided(),
            // So etcd says, odd as it is.
            InvalidRequest::EmptyOperation => key_not_found(),
            InvalidRequest::ValueProvided => value_provided(),
            InvalidRequest::LeaseProvided => lease_provided(),
            InvalidRequest::TooManyOperations => too_many_operations(),
            InvalidRequest::DuplicateKey => duplicate_key(),
            InvalidRequest::InvalidSortOption => invalid_sort_option(),
            InvalidRequest::StreamSorted => stream_sorted(),
            InvalidRequest::StreamFiltered => stream_filtered(),
            InvalidRequest::TtlTooLarge => lease_ttl_too_large(),
        }
    }
}

/// Whether somebody was turned away for who they are, or for not saying it.
pub fn is_about_identity(status: &Status) -> bool {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => true,
        Code::InvalidArgument => {
            [user_empty, auth_failed, old_auth_revision].iter().any(|text| text().message() == status.message())
        }
        _ => false,
    }
}

/// What apply refused.
pub fn of_refusal(refusal: &Refusal) -> Status {
    match refusal.reason() {
        Reason::KeyNotFound => key_not_found(),
        Reason::LeaseNotFound => lease_not_found(),
        Reason::LeaseExists => lease_exists(),
        Reason::Compacted => compacted(),
        Reason::FutureRevision => future_revision(),
        Reason::NoSpace => no_space(),
        Reason::Corrupt => corrupt(),
        Reason::ChecksumMismatch => with_detail(&corrupt(), &refusal.detail),
        Reason::Fenced => with_detail(&fenced(), &refusal.detail),
        Reason::AuthUserEmpty => user_empty(),
        Reason::AuthOldRevision => old_auth_revision(),
        Reason::AuthPermissionDenied => permission_denied(),
        Reason::AuthRootUserNotExist => root_user_missing(),
        Reason::AuthRootRoleNotGranted => root_role_missing(),
        Reason::AuthUserExists => user_exists(),
        Reason::AuthUserNotFound => user_not_found(),
        Reason::AuthRoleExists => role_exists(),
        Reason::AuthRoleNotFound => role_not_found(),
        Reason::AuthRoleEmpty => role_empty(),
        Reason::AuthRoleNotGranted => role_not_granted(),
        Reason::AuthPermissionNotGranted => permission_not_granted(),
        Reason::AuthPermissionNotGiven => permission_not_given(),
        Reason::AuthInvalidManagement => invalid_auth_management(),
        Reason::Unspecified => Status::internal(format!("holdfast: refused: {}", refusal.detail)),
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::UserEmpty => user_empty(),
            Denied::OldRevision => old_auth_revision(),
            Denied::NotPermitted => permission_denied(),
            Denied::Engine(error) => error.into(),
        }
    }
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { .. } => compacted(),
            ReadError::FutureRevision { .. } => future_revision(),
            ReadError::ChecksumMismatch { .. } => with_detail(&corrupt(), &error.to_string()),
            ReadError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Corrupt { .. } => with_detail(&corrupt(), &error.to_string()),
            EngineError::NoSpace { .. } => with_detail(&no_space(), &error.to_string()),
            EngineError::Format { .. } | EngineError::Io(_) => Status::internal(format!("holdfast: {error}")),
        }
    }
}

impl From<ReadTxnError> for Status {
    fn from(error: ReadTxnError) -> Self {
        match error {
            ReadTxnError::Read(error) => error.into(),
            ReadTxnError::NotReadOnly => unexpected_outcome(),
        }
    }
}

impl From<WatchError> for Status {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::State(error) => error.into(),
        }
    }
}

impl From<CheckpointError> for Status {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Engine(error) => error.into(),
            CheckpointError::BadName { .. } | CheckpointError::Exists { .. } | CheckpointError::Missing { .. } => {
                Status::internal(format!("holdfast: {error}"))
            }
        }
    }
}

impl From<MemberRefusal> for Status {
    fn from(refusal: MemberRefusal) -> Self {
        match refusal {
            MemberRefusal::NotLeader { .. } => leader_changed(),
            MemberRefusal::NotFound => member_not_found(),
            MemberRefusal::IdExists => member_id_exists(),
            MemberRefusal::PeerUrlExists => peer_urls_exist(),
            MemberRefusal::NotLearner => not_a_learner(),
            MemberRefusal::LearnerNotReady => learner_not_ready(),
            MemberRefusal::TooManyLearners => too_many_learners(),
            MemberRefusal::TooFewStarted => too_few_started(),
            MemberRefusal::UnhealthyCluster => unhealthy_cluster(),
            MemberRefusal::InProgress => change_in_progress(),
            MemberRefusal::RanBefore => member_id_exists(),
            MemberRefusal::Unknown => fate_unknown(),
            MemberRefusal::Stopped(_) => stopped(),
        }
    }
}

impl From<OpsError> for Status {
    fn from(error: OpsError) -> Self {
        match error {
            OpsError::NoLeader => no_leader(),
            OpsError::NotLeader { .. } => not_leader(),
            OpsError::Overloaded => too_many_requests(),
            OpsError::ExpiredWaiting => timed_out(),
            OpsError::Unknown => fate_unknown(),
            OpsError::Repairing => repairing(),
            OpsError::Read(error) => error.into(),
            OpsError::Member(refusal) => refusal.into(),
            OpsError::Stopped(_) => stopped(),
        }
    }
}

/// For another member that handed a proposal over: says, where it is certain, that nothing was proposed, so that it may
/// be handed to someone else.
pub fn of_proposal(error: OpsError) -> Status {
    let is_certain = match &error {
        OpsError::NoLeader | OpsError::NotLeader { .. } | OpsError::Overloaded | OpsError::ExpiredWaiting => true,
        OpsError::Unknown | OpsError::Repairing | OpsError::Read(_) | OpsError::Member(_) | OpsError::Stopped(_) => {
            false
        }
    };
    let mut status = Status::from(error);
    if is_certain {
        status.metadata_mut().insert(REFUSED, tonic::metadata::MetadataValue::from_static("1"));
    }
    status
}

/// The caller's own time is over. It stops listening at this moment, and says `context deadline exceeded` by itself;
/// where our answer is there first, it says the same. Neither tells whether a write took effect.
pub fn at_the_callers_end(status: Status) -> Status {
    let is_about_time = [timed_out(), fate_unknown()].iter().any(|ours| ours.message() == status.message());
    if !is_about_time {
        return status;
    }
    let metadata = status.metadata().clone();
    Status::with_metadata(Code::DeadlineExceeded, "context deadline exceeded", metadata)
}

/// Whether the work may have been done all the same.
pub fn is_fate_unknown(status: &Status) -> bool {
    status.message() == fate_unknown().message()
}

/// Whether this node takes no more work.
pub fn is_stopped(status: &Status) -> bool {
    status.message() == stopped().message()
}

/// etcd's text first, for those who look for it; then what is the matter.
fn with_detail(status: &Status, detail: &str) -> Status {
    if detail.is_empty() {
        return status.clone();
    }
    Status::new(status.code(), format!("{}: {detail}", status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Revision;

    #[test]
    fn texts_are_said_as_written_and_no_text_has_two_codes() {
        for (made, code, text) in TEXTS {
            let status = made();
            assert_eq!((status.code(), status.message()), (*code, *text));
            let twice = TEXTS.iter().filter(|(_, _, other)| other == text).count();
            assert_eq!(twice, 1, "{text}");
            let beginnings = ["etcdserver: ", "holdfast: ", "election: ", "mutex: ", "\"leader\" ", "RangeStream "];
            assert!(beginnings.iter().any(|begins| text.starts_with(begins)), "{text}");
        }
    }

    #[test]
    fn who_stops_listening_is_told_that_time_is_up() {
        for late in [timed_out(), fate_unknown()] {
            let told = at_the_callers_end(late);
            assert_eq!((told.code(), told.message()), (Code::DeadlineExceeded, "context deadline exceeded"));
        }
        assert_eq!(at_the_callers_end(no_leader()).message(), no_leader().message());
    }

    /// What clients in the field compare with, word for word.
    #[test]
    fn errors_map_to_what_clients_match_on() {
        let read = |error: ReadError| Status::from(OpsError::Read(error));
        let at = Revision(3);
        let member = |refusal| Status::from(OpsError::Member(refusal));
        let table = [
            (Status::from(OpsError::NoLeader), Code::Unavailable, "etcdserver: no leader"),
            (Status::from(OpsError::Overloaded), Code::ResourceExhausted, "etcdserver: too many requests"),
            (Status::from(OpsError::ExpiredWaiting), Code::Unavailable, "etcdserver: request timed out"),
            (
                Status::from(OpsError::Unknown),
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            (Status::from(OpsError::NotLeader { leader: None }), Code::FailedPrecondition, "etcdserver: not leader"),
            (
                read(ReadError::Compacted { requested: at, compacted: at }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                read(ReadError::FutureRevision { requested: at, newest: at }),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (member(MemberRefusal::NotFound), Code::NotFound, "etcdserver: member not found"),
            (member(MemberRefusal::PeerUrlExists), Code::FailedPrecondition, "etcdserver: Peer URLs already exists"),
            (
                member(MemberRefusal::TooFewStarted),
                Code::FailedPrecondition,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            (member(MemberRefusal::UnhealthyCluster), Code::Unavailable, "etcdserver: unhealthy cluster"),
            (
                member(MemberRefusal::LearnerNotReady),
                Code::FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
        ];
        for (status, code, text) in table {
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }

    #[test]
    fn a_refusal_of_apply_keeps_its_meaning() {
        let of = |reason: Reason| {
            let status = of_refusal(&Refusal { reason: reason as i32, detail: String::new() });
            (status.code(), status.message().to_owned())
        };
        let expect = |code, text: &str| (code, text.to_owned());
        assert_eq!(of(Reason::KeyNotFound), expect(Code::InvalidArgument, "etcdserver: key not found"));
        assert_eq!(of(Reason::LeaseNotFound), expect(Code::NotFound, "etcdserver: requested lease not found"));
        assert_eq!(of(Reason::LeaseExists), expect(Code::FailedPrecondition, "etcdserver: lease already exists"));
        assert_eq!(of(Reason::NoSpace), expect(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"));
        assert_eq!(of(Reason::ChecksumMismatch), expect(Code::DataLoss, "etcdserver: corrupt cluster"));
    }

    #[test]
    fn damage_is_named_behind_etcds_text() {
        let status = Status::from(EngineError::Corrupt { detail: "block 7 of 000012.sst".to_owned() });
        assert_eq!(status.code(), Code::DataLoss);
        assert_eq!(status.message(), "etcdserver: corrupt cluster: storage is corrupt: block 7 of 000012.sst");
    }

    #[test]
    fn only_a_proposal_that_surely_did_not_happen_is_marked_so() {
        let marked = |error| of_proposal(error).metadata().contains_key(REFUSED);
        assert!(marked(OpsError::NotLeader { leader: None }));
        assert!(marked(OpsError::Overloaded));
        assert!(marked(OpsError::ExpiredWaiting));
        assert!(!marked(OpsError::Unknown));
        assert!(!marked(OpsError::Stopped("now".to_owned())));
    }
}
