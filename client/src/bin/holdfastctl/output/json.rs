//! JSON with etcdctl's shape.
//!
//! etcdctl prints Go structures, and their names, order and omissions are its format: wire messages leave out what is
//! zero, etcdctl's own structures do not. Both kinds of fields have a method here, so each answer below reads as the
//! list of its fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_client::Update;
use holdfast_client::proto::etcdserverpb::response_op::Response;
use holdfast_client::proto::etcdserverpb::{
    AlarmResponse, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, Member,
    MemberListResponse, PutResponse, RangeResponse, ResponseHeader, ResponseOp, StatusResponse, TxnResponse,
};
use holdfast_client::proto::mvccpb::{Event, KeyValue};
use holdfast_client::proto::v1::topology_member::Role;
use holdfast_client::proto::v1::{TopologyMember, TopologyResponse, ZoneVerdict};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{
    EndpointHash, EndpointHealth, EndpointStatus, Listing, MemberAdded, MemberChanged, Revoked, TimeToLive, WatchEnded,
};

/// An answer as JSON.
pub(crate) trait ToJson {
    fn json(&self) -> Json;
}

/// A JSON value that keeps the order of its fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    Int(i64),
    Uint(u64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The fields of an object, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Vec<(&'static str, Json)>);

impl Object {
    /// A field that is always there.
    fn always(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// A field that is left out when it is zero, false or empty.
    pub(super) fn unless_zero(self, name: &'static str, value: impl Into<Json>) -> Self {
        let value = value.into();
        if value.is_zero() { self } else { self.always(name, value) }
    }

    /// Bytes, in base64; left out when there are none.
    pub(super) fn bytes(self, name: &'static str, bytes: &[u8]) -> Self {
        self.unless_zero(name, BASE64.encode(bytes))
    }

    /// A message; left out when it was not sent.
    pub(super) fn message<M: ToJson>(self, name: &'static str, message: Option<&M>) -> Self {
        match message {
            Some(message) => self.always(name, message.json()),
            None => self,
        }
    }

    /// Messages; left out when there are none.
    pub(super) fn messages<M: ToJson>(self, name: &'static str, messages: &[M]) -> Self {
        self.unless_zero(name, list(messages))
    }

    /// A header's fields among the others, as in etcdctl's answers about leases.
    fn header_inline(mut self, header: Option<&ResponseHeader>) -> Self {
        if let Some(Json::Object(header)) = header.map(ToJson::json) {
            self.0.extend(header.0);
        }
        self
    }
}

impl Json {
    fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Flag(flag) => !flag,
            Self::Int(number) => *number == 0,
            Self::Uint(number) => *number == 0,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(_) => false,
        }
    }
}

macro_rules! json_from {
    ($($from:ty => $value:ident $convert:expr),* $(,)?) => {
        $(impl From<$from> for Json {
            fn from($value: $from) -> Self {
                $convert
            }
        })*
    };
}

json_from!(
    bool => flag Json::Flag(flag),
    i64 => number Json::Int(number),
    u64 => number Json::Uint(number),
    u32 => number Json::Uint(number.into()),
    i32 => number Json::Int(number.into()),
    String => text Json::Text(text),
    &str => text Json::Text(text.to_owned()),
    &String => text Json::Text(text.clone()),
    Vec<Json> => items Json::List(items),
    Object => object Json::Object(object),
);

impl From<&Vec<String>> for Json {
    fn from(texts: &Vec<String>) -> Self {
        Self::List(texts.iter().map(Self::from).collect())
    }
}

fn list<M: ToJson>(messages: &[M]) -> Json {
    Json::List(messages.iter().map(ToJson::json).collect())
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(Object(fields)) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// One line.
pub(crate) fn text(json: &Json) -> Vec<u8> {
    let mut text = serde_json::to_vec(json).expect("a tree of strings and numbers can be written");
    text.push(b'\n');
    text
}

macro_rules! to_json {
    ($($answer:ty: $this:ident => $object:expr),* $(,)?) => {
        $(impl ToJson for $answer {
            fn json(&self) -> Json {
                let $this = self;
                $object.into()
            }
        })*
    };
}

to_json!(
    ResponseHeader: header => Object::default()
        .unless_zero("cluster_id", header.cluster_id)
        .unless_zero("member_id", header.member_id)
        .unless_zero("revision", header.revision)
        .unless_zero("raft_term", header.raft_term),

    KeyValue: kv => Object::default()
        .bytes("key", &kv.key)
        .unless_zero("create_revision", kv.create_revision)
        .unless_zero("mod_revision", kv.mod_revision)
        .unless_zero("version", kv.version)
        .bytes("value", &kv.value)
        .unless_zero("lease", kv.lease),

    Event: event => Object::default()
        .unless_zero("type", event.r#type)
        .message("kv", event.kv.as_ref())
        .message("prev_kv", event.prev_kv.as_ref()),

    PutResponse: put => Object::default()
        .message("header", put.header.as_ref())
        .message("prev_kv", put.prev_kv.as_ref()),

    RangeResponse: range => Object::default()
        .message("header", range.header.as_ref())
        .messages("kvs", &range.kvs)
        .unless_zero("more", range.more)
        .unless_zero("count", range.count),

    Listing: listing => listing.answer.json(),

    DeleteRangeResponse: delete => Object::default()
        .message("header", delete.header.as_ref())
        .unless_zero("deleted", delete.deleted)
        .messages("prev_kvs", &delete.prev_kvs),

    TxnResponse: txn => Object::default()
        .message("header", txn.header.as_ref())
        .unless_zero("succeeded", txn.succeeded)
        .messages("responses", &txn.responses),

    ResponseOp: op => Object::default().always("Response", match &op.response {
        None => Json::Null,
        Some(Response::ResponseRange(range)) => Object::default().always("ResponseRange", range.json()).into(),
        Some(Response::ResponsePut(put)) => Object::default().always("ResponsePut", put.json()).into(),
        Some(Response::ResponseDeleteRange(delete)) => {
            Object::default().always("ResponseDeleteRange", delete.json()).into()
        }
        Some(Response::ResponseTxn(txn)) => Object::default().always("ResponseTxn", txn.json()).into(),
    }),

    LeaseGrantResponse: lease => Object::default()
        .header_inline(lease.header.as_ref())
        .always("ID", lease.id)
        .always("TTL", lease.ttl)
        .always("Error", &lease.error),

    Revoked: revoked => Object::default().message("header", revoked.answer.header.as_ref()),

    TimeToLive: lease => Object::default()
        .header_inline(lease.answer.header.as_ref())
        .always("id", lease.answer.id)
        .always("ttl", lease.answer.ttl)
        .always("granted-ttl", lease.answer.granted_ttl)
        .always("keys", match lease.answer.keys.as_slice() {
            [] => Json::Null,
            keys => Json::List(keys.iter().map(|key| BASE64.encode(key).into()).collect()),
        }),

    LeaseLeasesResponse: leases => Object::default()
        .header_inline(leases.header.as_ref())
        .always("leases", leases.leases.iter().map(|lease| Object::default().always("id", lease.id).into())
            .collect::<Vec<Json>>()),

    LeaseKeepAliveResponse: lease => Object::default()
        .header_inline(lease.header.as_ref())
        .always("ID", lease.id)
        .always("TTL", lease.ttl),

    Member: member => Object::default()
        .unless_zero("ID", member.id)
        .unless_zero("name", &member.name)
        .unless_zero("peerURLs", &member.peer_ur_ls)
        .unless_zero("clientURLs", &member.client_ur_ls)
        .unless_zero("isLearner", member.is_learner),

    MemberListResponse: answer => Object::default()
        .message("header", answer.header.as_ref())
        .messages("members", &answer.members),

    MemberAdded: added => Object::default()
        .message("header", added.answer.header.as_ref())
        .message("member", added.answer.member.as_ref())
        .messages("members", &added.answer.members),

    MemberChanged: changed => Object::default()
        .message("header", changed.header.as_ref())
        .messages("members", &changed.members),

    StatusResponse: status => Object::default()
        .message("header", status.header.as_ref())
        .unless_zero("version", &status.version)
        .unless_zero("dbSize", status.db_size)
        .unless_zero("leader", status.leader)
        .unless_zero("raftIndex", status.raft_index)
        .unless_zero("raftTerm", status.raft_term)
        .unless_zero("raftAppliedIndex", status.raft_applied_index)
        .unless_zero("errors", &status.errors)
        .unless_zero("dbSizeInUse", status.db_size_in_use)
        .unless_zero("isLearner", status.is_learner)
        .unless_zero("storageVersion", &status.storage_version)
        .unless_zero("dbSizeQuota", status.db_size_quota),

    EndpointStatus: one => Object::default().always("Endpoint", &one.endpoint).always("Status", one.status.json()),
    Vec<EndpointStatus>: statuses => list(statuses),

    EndpointHealth: one => Object::default()
        .always("endpoint", &one.endpoint)
        .always("health", one.error.is_none())
        .always("took", &one.took)
        .unless_zero("error", one.error.clone().unwrap_or_default()),
    Vec<EndpointHealth>: healths => list(healths),

    EndpointHash: one => Object::default().always("Endpoint", &one.endpoint).always(
        "HashKV",
        Object::default()
            .message("header", one.hash.header.as_ref())
            .unless_zero("hash", one.hash.hash)
            .unless_zero("compact_revision", one.hash.compact_revision)
            .unless_zero("hash_revision", one.hash.hash_revision),
    ),
    Vec<EndpointHash>: hashes => list(hashes),

    AlarmResponse: answer => Object::default()
        .message("header", answer.header.as_ref())
        .unless_zero("alarms", answer.alarms.iter().map(|one| {
            Object::default().unless_zero("memberID", one.member_id).unless_zero("alarm", one.alarm).into()
        }).collect::<Vec<Json>>()),

    WatchEnded: ended => watch(&ResponseHeader::default(), &[], ended.compact_revision, true),

    Update: update => match update {
        Update::Events { header, events } => watch(header, events, 0, false),
        Update::Progress { header } => watch(header, &[], 0, false),
    },

    TopologyMember: member => Object::default()
        .always("id", member.id)
        .always("name", &member.name)
        .always("zone", &member.zone)
        .always("role", Role::try_from(member.role).unwrap_or_default().as_str_name())
        .always("health", &member.health)
        .always("applied_index", member.applied_index)
        .always("lag_entries", member.lag_entries)
        .always("client_urls", &member.client_urls)
        .always("peer_urls", &member.peer_urls),

    ZoneVerdict: zone => Object::default()
        .always("zone", &zone.zone)
        .always("voters", zone.voters)
        .always("quorum_without", zone.quorum_without),

    TopologyResponse: topology => Object::default()
        .message("header", topology.header.as_ref())
        .always("members", list(&topology.members))
        .always("zones", list(&topology.zones))
        .always("survives_any_zone", topology.survives_any_zone)
        .always("warnings", &topology.warnings),
);

fn watch(header: &ResponseHeader, events: &[Event], compact_revision: i64, canceled: bool) -> Object {
    Object::default()
        .always("Header", header.json())
        .always("Events", list(events))
        .always("CompactRevision", compact_revision)
        .always("Canceled", canceled)
        .always("Created", false)
}
