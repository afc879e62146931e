//! What stands in etcd's database, bucket by bucket, as made from a view of the state.
//!
//! ```text
//! bucket          key                                         value
//! -------------   -----------------------------------------   ----------------------------------------------
//! key             main revision u64 BE | _ | sub u64 BE | t    encoded mvccpb.KeyValue; t and the key alone: deleted
//! lease           id i64 BE                                   encoded leasepb.Lease: id, TTL in seconds
//! auth            authEnabled, authRevision                   one byte; u64 BE
//! authUsers       name                                        encoded authpb.User
//! authRoles       name                                        encoded authpb.Role
//! alarm           encoded AlarmMember                         empty
//! members         id in hex                                   JSON
//! cluster         clusterVersion                              text
//! meta            consistent_index, term                      u64 BE, of the last applied entry
//! meta            confState                                   JSON: who votes
//! meta            scheduledCompactRev, finishedCompactRev     as in bucket key
//! ```
//!
//! Revisions and positions inside of them mean the same in both, so history goes over as it is. What signs tokens stays
//! here.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use holdfast_proto::peer::Membership;
use prost::Message;

use super::bolt::{self, Child, Entry, FIRST_PAGE, LeafSize, PAGE_BYTES};
use crate::auth::{self, AuthState};
use crate::lease;
use crate::mvcc::{self, Event, EventKind, Horizon, ReadError, Rev};
use crate::state;
use crate::storage::View;
use crate::types::Revision;

/// The version that the cluster is said to have.
const CLUSTER_VERSION: &str = "3.5.0";

/// A file, planned. The pieces are made from the same view, or from one that shows the same.
#[derive(Debug)]
pub struct EtcdFile {
    /// All pages up to those of history.
    head: Bytes,
    leaves: Vec<Leaf>,
    first_leaf_page: u64,
    /// The pages that lead to the leaves.
    branches: Bytes,
}

/// Some events in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    first: Rev,
    kind: EventKind,
    /// Counted from the first page of history.
    page: u64,
    pages: u64,
}

impl EtcdFile {
    /// Walks all of the view.
    pub fn plan(view: &dyn View) -> Result<Self, ReadError> {
        let leaves = leaves(view)?;
        let small = small_buckets(view)?;
        let (mut next, mut pages, mut tops) = (FIRST_PAGE, BytesMut::new(), Vec::new());
        for (name, entries) in &small {
            let (top, tree) = bolt::tree(entries, next);
            next += (tree.len() / PAGE_BYTES) as u64;
            pages.extend_from_slice(&tree);
            tops.push((*name, top));
        }
        let buckets_page = next;
        let first_leaf_page = buckets_page + 1;
        let mut children = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            children.push(Child { first: key_of(leaf.first, leaf.kind), page: first_leaf_page + leaf.page });
        }
        let behind_leaves = first_leaf_page + leaves.last().map_or(0, |leaf| leaf.page + leaf.pages);
        let (top, branches) = bolt::branches(children, behind_leaves);
        tops.push(("key", (!leaves.is_empty()).then_some(top)));
        tops.sort_by_key(|(name, _)| *name);
        pages.extend_from_slice(&bolt::buckets(buckets_page, &tops));
        let end = behind_leaves + (branches.len() / PAGE_BYTES) as u64;
        let mut head = bolt::front(buckets_page, end);
        head.extend_from_slice(&pages);
        Ok(Self { head: head.freeze(), leaves, first_leaf_page, branches: branches.freeze() })
    }

    pub fn total_bytes(&self) -> u64 {
        let leaves = self.leaves.last().map_or(0, |leaf| leaf.page + leaf.pages);
        self.head.len() as u64 + leaves * PAGE_BYTES as u64 + self.branches.len() as u64
    }

    /// The file is its pieces from 0 on, until there is none.
    pub fn piece(&self, view: &dyn View, number: usize) -> Result<Option<Bytes>, ReadError> {
        let Some(leaf) = number.checked_sub(1) else { return Ok(Some(self.head.clone())) };
        match self.leaves.get(leaf) {
            Some(planned) => self.leaf(view, *planned, self.leaves.get(leaf + 1)).map(Some),
            None if leaf == self.leaves.len() => Ok(Some(self.branches.clone())),
            None => Ok(None),
        }
    }

    fn leaf(&self, view: &dyn View, leaf: Leaf, behind: Option<&Leaf>) -> Result<Bytes, ReadError> {
        let mut entries = Vec::new();
        mvcc::walk_events(view, leaf.first, &mut |event| {
            if behind.is_some_and(|behind| event.rev >= behind.first) {
                return ControlFlow::Break(());
            }
            entries.push(entry_of(&event));
            ControlFlow::Continue(())
        })?;
        Ok(bolt::leaf(self.first_leaf_page + leaf.page, &entries).freeze())
    }
}

/// How history is cut.
fn leaves(view: &dyn View) -> Result<Vec<Leaf>, ReadError> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut size = LeafSize::default();
    mvcc::walk_events(view, Rev::start_of(Revision(0)), &mut |event| {
        let Entry { key, value } = entry_of(&event);
        if leaves.is_empty() || !size.has_room(key.len(), value.len()) {
            let page = leaves.last().map_or(0, |leaf| leaf.page + leaf.pages);
            leaves.push(Leaf { first: event.rev, kind: event.kind, page, pages: 0 });
            size = LeafSize::default();
        }
        size.add(key.len(), value.len());
        if let Some(leaf) = leaves.last_mut() {
            leaf.pages = size.pages();
        }
        ControlFlow::Continue(())
    })?;
    Ok(leaves)
}

fn key_of(rev: Rev, kind: EventKind) -> Vec<u8> {
    let encoded = rev.encode();
    let mut key = [&encoded[..8], b"_", &encoded[8..]].concat();
    if kind == EventKind::Delete {
        key.push(b't');
    }
    key
}

fn entry_of(event: &Event) -> Entry {
    let mut kv = event.to_key_value();
    if event.kind == EventKind::Delete {
        kv.mod_revision = 0;
    }
    Entry { key: key_of(event.rev, event.kind), value: kv.encode_to_vec() }
}

/// etcd's message, which no wire carries.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseRow {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(int64, tag = "2")]
    pub ttl: i64,
}

/// All buckets but that of history.
fn small_buckets(view: &dyn View) -> Result<[(&'static str, Vec<Entry>); 9], ReadError> {
    let entry = |key: &[u8], value: Vec<u8>| Entry { key: key.to_vec(), value };
    let leases = lease::leases(view)?
        .into_iter()
        .map(|(id, ttl_s)| entry(&(id.0 as u64).to_be_bytes(), LeaseRow { id: id.0, ttl: ttl_s }.encode_to_vec()));
    let auth = AuthState::load(view)?;
    let auth = vec![
        entry(b"authEnabled", vec![u8::from(auth.is_enabled)]),
        entry(b"authRevision", auth.revision.to_be_bytes().to_vec()),
    ];
    let users = auth::users(view)?.into_iter().map(|user| entry(&user.fields.name, user.fields.encode_to_vec()));
    let roles = auth::roles(view)?.into_iter().map(|role| entry(&role.name, role.encode_to_vec()));
    let alarms = state::alarms(view)?.into_iter().map(|alarm| entry(&alarm.encode_to_vec(), Vec::new()));
    let version = vec![entry(b"clusterVersion", CLUSTER_VERSION.into())];
    Ok([
        ("alarm", sorted(alarms.collect())),
        ("auth", auth),
        ("authRoles", sorted(roles.collect())),
        ("authUsers", sorted(users.collect())),
        ("cluster", version),
        ("lease", sorted(leases.collect())),
        ("members", sorted(members(view)?)),
        ("members_removed", Vec::new()),
        ("meta", meta(view)?),
    ])
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

fn voters(membership: &Membership) -> BTreeSet<u64> {
    membership.configs.iter().flat_map(|set| set.member_ids.iter().copied()).collect()
}

fn members(view: &dyn View) -> Result<Vec<Entry>, ReadError> {
    let Some((_, membership)) = state::membership(view)? else { return Ok(Vec::new()) };
    let voters = voters(&membership);
    let members = membership.members.into_iter().map(|member| {
        let mut json = serde_json::json!({
            "id": member.id,
            "peerURLs": member.peer_urls,
            "name": member.name,
            "clientURLs": member.client_urls,
        });
        if !voters.contains(&member.id) {
            json["isLearner"] = true.into();
        }
        Entry { key: format!("{:x}", member.id).into_bytes(), value: json.to_string().into_bytes() }
    });
    Ok(members.collect())
}

fn meta(view: &dyn View) -> Result<Vec<Entry>, ReadError> {
    let number = |name: &[u8], number: u64| Entry { key: name.to_vec(), value: number.to_be_bytes().to_vec() };
    let applied = state::applied(view)?.unwrap_or_default();
    let mut entries = vec![number(b"consistent_index", applied.index), number(b"term", applied.term)];
    if let Some((_, membership)) = state::membership(view)? {
        let voters = voters(&membership);
        let learners = membership.members.iter().map(|member| member.id).filter(|id| !voters.contains(id));
        let json = serde_json::json!({
            "voters": voters,
            "learners": learners.collect::<Vec<_>>(),
            "auto_leave": false,
        });
        entries.push(Entry { key: b"confState".to_vec(), value: json.to_string().into_bytes() });
    }
    if let Some(compacted) = Horizon::load(view)?.compacted {
        let rev = key_of(Rev::start_of(compacted), EventKind::Put);
        entries.push(Entry { key: b"finishedCompactRev".to_vec(), value: rev.clone() });
        entries.push(Entry { key: b"scheduledCompactRev".to_vec(), value: rev });
    }
    Ok(sorted(entries))
}

#[cfg(test)]
#[path = "etcd_file_tests.rs"]
pub(super) mod tests;
