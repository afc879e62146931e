//! Lines, exactly as etcdctl writes them.

use std::fmt::Write as _;

use holdfast_client::proto::etcdserverpb::response_op::Response;
use holdfast_client::proto::etcdserverpb::{
    AlarmResponse, AlarmType, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    Member, MemberListResponse, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
};
use holdfast_client::proto::mvccpb::event::EventType;
use holdfast_client::proto::mvccpb::{Event, KeyValue};
use holdfast_client::proto::v1::TopologyResponse;
use holdfast_client::{AttachedKeys, Update};

use super::{
    ByteStyle, EndpointHash, EndpointHealth, EndpointStatus, Listing, MemberAdded, MemberChange, MemberChanged,
    Revoked, TimeToLive, ValueStyle, go, has_started, table,
};

/// An answer as lines.
pub(crate) trait Simple {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8>;
}

fn pair(out: &mut Vec<u8>, kv: &KeyValue, bytes: ByteStyle) {
    for part in [&kv.key, &kv.value] {
        out.extend(bytes.show(part));
        out.push(b'\n');
    }
}

fn pairs<'a>(kvs: impl IntoIterator<Item = &'a KeyValue>, bytes: ByteStyle) -> Vec<u8> {
    let mut out = Vec::new();
    kvs.into_iter().for_each(|kv| pair(&mut out, kv, bytes));
    out
}

impl Simple for PutResponse {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        let mut out = b"OK\n".to_vec();
        out.extend(pairs(&self.prev_kv, bytes));
        out
    }
}

impl Simple for Listing {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        match self.style {
            ValueStyle::Pairs => pairs(&self.answer.kvs, bytes),
            ValueStyle::Count => format!("{}\n", self.answer.count).into_bytes(),
            ValueStyle::Values => {
                let line = |kv: &KeyValue| [bytes.show(&kv.value), vec![b'\n']].concat();
                self.answer.kvs.iter().flat_map(line).collect()
            }
        }
    }
}

impl Simple for RangeResponse {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        pairs(&self.kvs, bytes)
    }
}

impl Simple for DeleteRangeResponse {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        let mut out = format!("{}\n", self.deleted).into_bytes();
        out.extend(pairs(&self.prev_kvs, bytes));
        out
    }
}

impl Simple for TxnResponse {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        let mut out = if self.succeeded { b"SUCCESS\n".to_vec() } else { b"FAILURE\n".to_vec() };
        for response in self.responses.iter().filter_map(|op| op.response.as_ref()) {
            out.push(b'\n');
            out.extend(match response {
                Response::ResponseRange(answer) => answer.simple(bytes),
                Response::ResponsePut(answer) => answer.simple(bytes),
                Response::ResponseDeleteRange(answer) => answer.simple(bytes),
                Response::ResponseTxn(answer) => answer.simple(bytes),
            });
        }
        out
    }
}

impl Simple for Update {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        match self {
            Update::Progress { header } => format!("progress notify: {}\n", header.revision).into_bytes(),
            Update::Events { events, .. } => events.iter().flat_map(|event| event_lines(event, bytes)).collect(),
        }
    }
}

fn event_lines(event: &Event, bytes: ByteStyle) -> Vec<u8> {
    let mut out = match event.r#type() {
        EventType::Put => b"PUT\n".to_vec(),
        EventType::Delete => b"DELETE\n".to_vec(),
    };
    out.extend(pairs(&event.prev_kv, bytes));
    out.extend(pairs(&event.kv, bytes));
    out
}

impl Simple for LeaseGrantResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        format!("lease {:016x} granted with TTL({}s)\n", self.id, self.ttl).into_bytes()
    }
}

impl Simple for Revoked {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        format!("lease {:016x} revoked\n", self.id).into_bytes()
    }
}

impl Simple for TimeToLive {
    fn simple(&self, bytes: ByteStyle) -> Vec<u8> {
        let lease = &self.answer;
        if lease.granted_ttl == 0 && lease.ttl == -1 {
            return format!("lease {:016x} already expired\n", lease.id).into_bytes();
        }
        let (granted, left) = (lease.granted_ttl, lease.ttl);
        let mut out = format!("lease {:016x} granted with TTL({granted}s), remaining({left}s)", lease.id).into_bytes();
        if self.keys == AttachedKeys::List {
            let keys: Vec<Vec<u8>> = lease.keys.iter().map(|key| bytes.show(key)).collect();
            out.extend([b", attached keys([".as_slice(), &keys.join(&b' '), b"])"].concat());
        }
        out.push(b'\n');
        out
    }
}

impl Simple for LeaseLeasesResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let mut out = format!("found {} leases\n", self.leases.len());
        for lease in &self.leases {
            let _ = writeln!(out, "{:016x}", lease.id);
        }
        out.into_bytes()
    }
}

impl Simple for LeaseKeepAliveResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        format!("lease {:016x} keepalived with TTL({})\n", self.id, self.ttl).into_bytes()
    }
}

impl Simple for MemberListResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        self.members.iter().map(|member| member_cells(member).join(", ") + "\n").collect::<String>().into_bytes()
    }
}

/// A member as the list shows it, in lines and in the table.
pub(super) fn member_cells(member: &Member) -> Vec<String> {
    vec![
        format!("{:x}", member.id),
        if has_started(member) { "started" } else { "unstarted" }.to_owned(),
        member.name.clone(),
        member.peer_ur_ls.join(","),
        member.client_ur_ls.join(","),
        member.is_learner.to_string(),
    ]
}

fn cluster_id(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.cluster_id)
}

impl Simple for MemberAdded {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let added = self.answer.member.clone().unwrap_or_default();
        let cluster = cluster_id(self.answer.header.as_ref());
        let mut everyone = Vec::new();
        for member in &self.answer.members {
            let name = if member.id == added.id { &self.name } else { &member.name };
            everyone.extend(member.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
        }
        let (name, everyone, urls) = (&self.name, everyone.join(","), added.peer_ur_ls.join(","));
        let id = added.id;
        format!(
            "Member {id:16x} added to cluster {cluster:16x}\n\nETCD_NAME=\"{name}\"\n\
             ETCD_INITIAL_CLUSTER=\"{everyone}\"\nETCD_INITIAL_ADVERTISE_PEER_URLS=\"{urls}\"\n\
             ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        )
        .into_bytes()
    }
}

impl Simple for MemberChanged {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let done = match self.change {
            MemberChange::Removed => "removed from",
            MemberChange::Updated => "updated in",
            MemberChange::Promoted => "promoted in",
        };
        let cluster = cluster_id(self.header.as_ref());
        format!("Member {:16x} {done} cluster {cluster:16x}\n", self.id).into_bytes()
    }
}

impl Simple for Vec<EndpointStatus> {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        self.iter().map(|one| status_cells(one).join(", ") + "\n").collect::<String>().into_bytes()
    }
}

/// A member's status as the list shows it, in lines and in the table.
pub(super) fn status_cells(one: &EndpointStatus) -> Vec<String> {
    let status = &one.status;
    vec![
        one.endpoint.clone(),
        format!("{:x}", one.member()),
        status.version.clone(),
        go::size(u64::try_from(status.db_size).unwrap_or(0)),
        one.leads().to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
    ]
}

impl Simple for Vec<EndpointHealth> {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let line = |one: &EndpointHealth| match &one.error {
            None => format!("{} is healthy: successfully committed proposal: took = {}\n", one.endpoint, one.took),
            Some(error) => format!("{} is unhealthy: failed to commit proposal: {error}\n", one.endpoint),
        };
        self.iter().map(line).collect::<String>().into_bytes()
    }
}

impl Simple for Vec<EndpointHash> {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        self.iter().map(|one| format!("{}, {}\n", one.endpoint, one.hash.hash)).collect::<String>().into_bytes()
    }
}

impl Simple for AlarmResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let mut out = String::new();
        for one in &self.alarms {
            let alarm = AlarmType::try_from(one.alarm).unwrap_or_default().as_str_name();
            let _ = writeln!(out, "memberID:{} alarm:{alarm} ", one.member_id);
        }
        out.into_bytes()
    }
}

/// There is no etcdctl to follow here, and people read it: the tables.
impl Simple for TopologyResponse {
    fn simple(&self, _: ByteStyle) -> Vec<u8> {
        let mut out = String::new();
        for table in table::topology(self) {
            out.push_str(&table.text());
        }
        out.push_str(if self.survives_any_zone {
            "The cluster survives the loss of any one zone.\n"
        } else {
            "THE CLUSTER DOES NOT SURVIVE THE LOSS OF EVERY ZONE.\n"
        });
        out.into_bytes()
    }
}
