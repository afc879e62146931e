//! Raft's types as bytes: between openraft's structures and the messages of `holdfast.peer.v1`.
//!
//! The same entry encoding serves the log on disk (kind and payload of a [`RawEntry`]) and the wire, so that an entry's
//! checksum means the same in both places and openraft's own layouts never reach either.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use holdfast_proto::peer;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult};
use prost::Message;

use super::types::{EncodedBatch, Member, RaftEntry, RaftLogId, RaftMembership, RaftVote, TypeConfig};
use crate::env::planted;
use crate::types::{LogId, Vote};
use crate::wal::RawEntry;

/// The `kind` byte of an entry on disk.
const KIND_BLANK: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

fn invalid(detail: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail.into())
}

// ---- positions and votes ----

pub fn log_id(raft: &RaftLogId) -> LogId {
    LogId { term: **raft.committed_leader_id(), index: raft.index }
}

pub fn raft_log_id(id: LogId) -> RaftLogId {
    openraft::LogId { leader_id: id.term.into(), index: id.index }
}

fn log_id_to_wire(raft: &RaftLogId) -> peer::LogId {
    let id = log_id(raft);
    peer::LogId { term: id.term, index: id.index }
}

pub fn optional_log_id_to_wire(raft: Option<&RaftLogId>) -> Option<peer::LogId> {
    raft.map(log_id_to_wire)
}

pub fn log_id_from_wire(wire: peer::LogId) -> RaftLogId {
    raft_log_id(LogId { term: wire.term, index: wire.index })
}

pub fn vote(raft: &RaftVote) -> Vote {
    Vote { term: raft.leader_id().term, node: raft.leader_id().voted_for, committed: raft.is_committed() }
}

pub fn raft_vote(vote: Vote) -> RaftVote {
    if vote.committed { RaftVote::new_committed(vote.term, vote.node) } else { RaftVote::new(vote.term, vote.node) }
}

pub fn vote_to_wire(raft: &RaftVote) -> peer::Vote {
    let vote = vote(raft);
    peer::Vote { term: vote.term, node: vote.node, committed: vote.committed }
}

pub fn vote_from_wire(wire: Option<peer::Vote>) -> io::Result<RaftVote> {
    let wire = wire.ok_or_else(|| invalid("a Raft message without a vote"))?;
    Ok(raft_vote(Vote { term: wire.term, node: wire.node, committed: wire.committed }))
}

// ---- membership ----

pub fn member_to_wire(id: u64, member: &Member) -> peer::MemberInfo {
    peer::MemberInfo {
        id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        zone: member.zone.clone(),
        incarnation: member.incarnation,
        votes_when_ready: member.votes_when_ready,
    }
}

pub fn member_from_wire(wire: peer::MemberInfo) -> Member {
    Member {
        name: wire.name,
        peer_urls: wire.peer_urls,
        client_urls: wire.client_urls,
        zone: wire.zone,
        incarnation: wire.incarnation,
        votes_when_ready: wire.votes_when_ready,
    }
}

pub fn membership_to_wire(membership: &RaftMembership) -> peer::Membership {
    let configs = membership.get_joint_config().iter();
    peer::Membership {
        configs: configs.map(|ids| peer::VoterSet { member_ids: ids.iter().copied().collect() }).collect(),
        members: membership.nodes().map(|(id, member)| member_to_wire(*id, member)).collect(),
    }
}

pub fn membership_from_wire(wire: peer::Membership) -> io::Result<RaftMembership> {
    let configs: Vec<BTreeSet<u64>> =
        wire.configs.into_iter().map(|set| set.member_ids.into_iter().collect()).collect();
    let members: BTreeMap<u64, Member> =
        wire.members.into_iter().map(|info| (info.id, member_from_wire(info))).collect();
    RaftMembership::new(configs, members).map_err(|error| invalid(format!("a membership that cannot be: {error}")))
}

// ---- entries ----

/// An entry as the log keeps it.
pub fn entry_to_raw(entry: &RaftEntry) -> RawEntry {
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Normal(batch) => (KIND_BATCH, batch.0.clone()),
        EntryPayload::Membership(membership) => {
            (KIND_MEMBERSHIP, Bytes::from(membership_to_wire(membership).encode_to_vec()))
        }
    };
    RawEntry { log_id: log_id(&entry.log_id), kind, payload }
}

pub fn entry_from_raw(raw: RawEntry) -> io::Result<RaftEntry> {
    let payload = match raw.kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_BATCH => EntryPayload::Normal(EncodedBatch(raw.payload)),
        KIND_MEMBERSHIP => {
            let wire = peer::Membership::decode(raw.payload)
                .map_err(|error| invalid(format!("log entry {}: membership: {error}", raw.log_id)))?;
            EntryPayload::Membership(membership_from_wire(wire)?)
        }
        unknown => {
            return Err(invalid(format!(
                "log entry {} is of kind {unknown}, which this version does not know: run the version that wrote it",
                raw.log_id
            )));
        }
    };
    Ok(RaftEntry { log_id: raft_log_id(raw.log_id), payload })
}

fn entry_to_wire(entry: RaftEntry) -> peer::Entry {
    let id = Some(log_id_to_wire(&entry.log_id));
    let payload = match entry.payload {
        EntryPayload::Blank => peer::entry::Payload::Blank(peer::Blank {}),
        EntryPayload::Normal(batch) => peer::entry::Payload::Batch(batch.0),
        EntryPayload::Membership(membership) => peer::entry::Payload::Membership(membership_to_wire(&membership)),
    };
    peer::Entry { id, payload: Some(payload) }
}

fn entry_from_wire(wire: peer::Entry) -> io::Result<RaftEntry> {
    let id = wire.id.ok_or_else(|| invalid("an entry without a position"))?;
    let payload = match wire.payload.ok_or_else(|| invalid("an entry without a payload"))? {
        peer::entry::Payload::Blank(_) => EntryPayload::Blank,
        peer::entry::Payload::Batch(bytes) => EntryPayload::Normal(EncodedBatch(bytes)),
        peer::entry::Payload::Membership(membership) => EntryPayload::Membership(membership_from_wire(membership)?),
    };
    Ok(RaftEntry { log_id: log_id_from_wire(id), payload })
}

// ---- appends ----

pub fn append_to_wire(envelope: peer::Envelope, request: AppendEntriesRequest<TypeConfig>) -> peer::AppendRequest {
    debug_assert_eq!(check_append(&request).map_err(|error| error.to_string()), Ok(()));
    peer::AppendRequest {
        envelope: Some(envelope),
        vote: Some(vote_to_wire(&request.vote)),
        prev: optional_log_id_to_wire(request.prev_log_id.as_ref()),
        entries: request.entries.into_iter().map(entry_to_wire).collect(),
        leader_commit: optional_log_id_to_wire(request.leader_commit.as_ref()),
    }
}

pub fn append_from_wire(wire: peer::AppendRequest) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let request = AppendEntriesRequest {
        vote: vote_from_wire(wire.vote)?,
        prev_log_id: wire.prev.map(log_id_from_wire),
        entries: wire.entries.into_iter().map(entry_from_wire).collect::<io::Result<_>>()?,
        leader_commit: wire.leader_commit.map(log_id_from_wire),
    };
    check_append(&request)?;
    Ok(request)
}

/// What every leader sends: entries that follow one another and what is in front of them, of terms that do not fall
/// and are not newer than the leader's own.
fn check_append(request: &AppendEntriesRequest<TypeConfig>) -> io::Result<()> {
    let mut before = request.prev_log_id.as_ref().map(log_id);
    for here in request.entries.iter().map(|entry| log_id(&entry.log_id)) {
        let follows = before.is_none_or(|before| here.index == before.index + 1 && here.term >= before.term);
        if !follows || here.term > vote(&request.vote).term {
            let before = before.map_or("the log's start".to_owned(), |before| before.to_string());
            let leader = vote(&request.vote).term;
            return Err(invalid(format!("an append of term {leader} has {here} behind {before}")));
        }
        before = Some(here);
    }
    Ok(())
}

pub fn append_response_to_wire(response: &AppendEntriesResponse<TypeConfig>) -> peer::AppendResponse {
    use peer::append_response::Result as Wire;
    let (result, at) = match response {
        AppendEntriesResponse::Success => (Wire::Success(peer::Blank {}), None),
        AppendEntriesResponse::PartialSuccess(upto) => (Wire::PartialSuccess(peer::Blank {}), upto.as_ref()),
        AppendEntriesResponse::Conflict => (Wire::Conflict(peer::Blank {}), None),
        AppendEntriesResponse::HigherVote(vote) => (Wire::HigherVote(vote_to_wire(vote)), None),
    };
    peer::AppendResponse { result: Some(result), log_id: optional_log_id_to_wire(at) }
}

pub fn append_response_from_wire(wire: peer::AppendResponse) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    use peer::append_response::Result as Wire;
    Ok(match wire.result.ok_or_else(|| invalid("an append answer without a result"))? {
        Wire::Success(_) => AppendEntriesResponse::Success,
        Wire::PartialSuccess(_) => AppendEntriesResponse::PartialSuccess(wire.log_id.map(log_id_from_wire)),
        Wire::Conflict(_) => AppendEntriesResponse::Conflict,
        Wire::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote_from_wire(Some(vote))?),
    })
}

pub fn stream_result_to_wire(result: &StreamAppendResult<TypeConfig>) -> peer::AppendResponse {
    use peer::append_response::Result as Wire;
    let (result, at) = match result {
        Ok(upto) => (Wire::Success(peer::Blank {}), upto.as_ref()),
        Err(StreamAppendError::Conflict(at)) => (Wire::Conflict(peer::Blank {}), Some(at)),
        Err(StreamAppendError::HigherVote(vote)) => (Wire::HigherVote(vote_to_wire(vote)), None),
    };
    peer::AppendResponse { result: Some(result), log_id: optional_log_id_to_wire(at) }
}

pub fn stream_result_from_wire(wire: peer::AppendResponse) -> io::Result<StreamAppendResult<TypeConfig>> {
    use peer::append_response::Result as Wire;
    let at = wire.log_id.map(log_id_from_wire);
    Ok(match wire.result.ok_or_else(|| invalid("an append answer without a result"))? {
        Wire::Success(_) | Wire::PartialSuccess(_) => Ok(at),
        Wire::Conflict(_) if planted!(ConflictTakenForSuccess) => Ok(at),
        Wire::Conflict(_) => {
            Err(StreamAppendError::Conflict(at.ok_or_else(|| invalid("a conflict that does not say where"))?))
        }
        Wire::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_wire(Some(vote))?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(term: u64, prev: Option<(u64, u64)>, entries: &[(u64, u64)]) -> peer::AppendRequest {
        let at = |(term, index)| peer::LogId { term, index };
        let entry = |id: &(u64, u64)| peer::Entry {
            id: Some(at(*id)),
            payload: Some(peer::entry::Payload::Blank(peer::Blank {})),
        };
        peer::AppendRequest {
            envelope: None,
            vote: Some(peer::Vote { term, node: 1, committed: true }),
            prev: prev.map(at),
            entries: entries.iter().map(entry).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn an_append_that_no_leader_sends_is_refused() {
        assert!(append_from_wire(append(3, Some((1, 4)), &[(1, 5), (3, 6)])).is_ok());
        assert!(append_from_wire(append(3, None, &[(1, 0)])).is_ok());
        for (entries, why) in [
            (&[(1, 6)][..], "a gap"),
            (&[(1, 5), (1, 5)], "an index twice"),
            (&[(2, 5), (1, 6)], "a term that falls"),
            (&[(4, 5)], "a term newer than the leader's"),
        ] {
            assert!(append_from_wire(append(3, Some((1, 4)), entries)).is_err(), "{why}");
        }
    }
}
