//! The shape of the cluster: who is where, who leads, how far each one is, and what the loss of a zone would cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use holdfast_proto::peer;

use super::propose::with_timeout;
use super::{Deadline, Ops};
use crate::raft::{Incarnation, MemberView, Members, member_to_wire};
use crate::rt;
use crate::types::MemberId;

/// What a member said of itself, if it could be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberHealth {
    /// Its declared state.
    Said(String),
    Unreachable,
}

#[derive(Clone, Debug)]
pub struct TopologyMember {
    pub view: MemberView,
    pub leads: bool,
    pub health: MemberHealth,
    pub applied_index: u64,
    /// Entries behind the leader's last.
    pub lag_entries: u64,
}

#[derive(Clone, Debug)]
pub struct Topology {
    pub members: Vec<TopologyMember>,
    /// Voters in each zone, and whether the others are a quorum without them.
    pub zones: BTreeMap<String, ZoneShare>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneShare {
    pub voters: usize,
    pub quorum_without: bool,
}

impl Ops {
    /// Answers "who are you?". A founder that asks says who it is; what was heard of it goes into the answer.
    pub async fn hello_to(&self, asks: peer::HelloRequest) -> peer::HelloResponse {
        // Who wants to join takes over the id that stands here: it must be one that nobody takes back. A founder is
        // refused for whatever this member's log knows of it.
        let members = if asks.founder == 0 { self.agreed_members().unwrap_or_default() } else { self.members() };
        let mut answer = self.hello(&members);
        if asks.founder != 0 {
            let founding = Arc::clone(&self.inner.founding);
            let hear = move || founding.hear(MemberId(asks.founder), Incarnation(asks.incarnation));
            match rt::blocking(hear).await.and_then(|heard| heard) {
                Ok(heard) => {
                    answer.untouched = heard.is_untouched;
                    answer.heard_incarnation = heard.incarnation.0;
                }
                Err(error) => tracing::warn!(%error, "what another founder says of itself could not be written down"),
            }
        }
        answer
    }

    fn hello(&self, members: &Members) -> peer::HelloResponse {
        let standing = self.standing();
        peer::HelloResponse {
            cluster_id: self.peers().cluster().0,
            member_id: self.me().0,
            leader: standing.leader.map_or(0, |leader| leader.0),
            members: members.members.iter().map(|view| member_to_wire(view.id.0, &view.member)).collect(),
            voters: members.voters().map(|voter| voter.id.0).collect(),
            applied_index: standing.applied_index,
            last_index: standing.last_log_index,
            state: self.node_state().name().to_owned(),
            raft_term: standing.term,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disk_wait_ms: u64::try_from(self.replica().log_disk().longest_lately(rt::now()).as_millis())
                .unwrap_or(u64::MAX),
            ..Default::default()
        }
    }

    /// Asks every member how it is.
    pub async fn topology(&self, deadline: Deadline) -> Topology {
        let members = self.members();
        let answers = join_all(members.members.iter().map(|view| self.ask(view.id, deadline))).await;
        let leader = self.replica().leader();
        let leader_last = members
            .members
            .iter()
            .zip(&answers)
            .filter(|(view, _)| Some(view.id) == leader)
            .find_map(|(_, answer)| answer.as_ref().map(|hello| hello.last_index))
            .unwrap_or_else(|| self.standing().last_log_index);
        let rows = members.members.iter().zip(answers).map(|(view, answer)| {
            let applied_index = answer.as_ref().map_or(0, |hello| hello.applied_index);
            TopologyMember {
                view: view.clone(),
                leads: Some(view.id) == leader,
                health: answer.map_or(MemberHealth::Unreachable, |hello| MemberHealth::Said(hello.state)),
                applied_index,
                lag_entries: leader_last.saturating_sub(applied_index),
            }
        });
        let rows: Vec<_> = rows.collect();
        let warnings = warnings(&members, &rows, leader);
        Topology { members: rows, zones: zones(&members), warnings }
    }

    pub(super) async fn ask(&self, id: MemberId, deadline: Deadline) -> Option<peer::HelloResponse> {
        if id == self.me() {
            return Some(self.hello(&self.members()));
        }
        let mut client = self.client_of(id).ok()?;
        let call = client.hello(with_timeout(peer::HelloRequest::default(), deadline));
        let answer = rt::timeout(deadline.left(), call).await.ok()?.ok()?.into_inner();
        (answer.cluster_id == self.peers().cluster().0).then_some(answer)
    }
}

fn zones(members: &Members) -> BTreeMap<String, ZoneShare> {
    let holding = members.zones_that_hold_a_quorum();
    let share = |(zone, voters): (String, usize)| {
        let quorum_without = !holding.iter().any(|(name, _)| *name == zone);
        (zone, ZoneShare { voters, quorum_without })
    };
    members.voters_by_zone().into_iter().map(share).collect()
}

/// What an operator should know about where the voters are.
pub fn zone_warnings(members: &Members) -> Vec<String> {
    let voters = members.voters().count();
    if voters < 2 {
        // One member survives nothing, and nobody expects it to.
        return Vec::new();
    }
    let holding = members.zones_that_hold_a_quorum();
    let mut warnings: Vec<String> = holding
        .iter()
        .map(|(zone, inside)| {
            format!(
                "zone {zone} holds {inside} of {voters} voters: if it is lost, no quorum is left and the cluster \
                 stops; spread the voters so that no zone has half of them or more"
            )
        })
        .collect();
    // A founder is known by name before it has said anything; its client URLs come together with its zone.
    let without = members.voters().filter(|voter| voter.member.zone.is_empty() && !voter.member.client_urls.is_empty());
    let names: Vec<&str> = without.map(|voter| voter.member.name.as_str()).collect();
    if !names.is_empty() {
        warnings.push(format!(
            "{} of {voters} voters ({}) were started without --zone: what the loss of a zone costs cannot be told",
            names.len(),
            names.join(", ")
        ));
    }
    warnings
}

fn warnings(members: &Members, rows: &[TopologyMember], leader: Option<MemberId>) -> Vec<String> {
    let mut warnings = zone_warnings(members);
    if leader.is_none() {
        warnings.push("this member knows of no leader: writes and linearizable reads wait".to_owned());
    }
    for row in rows {
        let name = if row.view.member.name.is_empty() { row.view.id.to_string() } else { row.view.member.name.clone() };
        match &row.health {
            MemberHealth::Unreachable => warnings.push(format!("member {name} cannot be reached")),
            MemberHealth::Said(state) if state != "ok" => warnings.push(format!("member {name} is {state}")),
            MemberHealth::Said(_) => {}
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Member;

    fn voter(id: u64, zone: &str, client_urls: &[&str]) -> MemberView {
        let client_urls = client_urls.iter().map(|url| (*url).to_owned()).collect();
        let member = Member { name: format!("n{id}"), zone: zone.to_owned(), client_urls, ..Member::default() };
        MemberView { id: MemberId(id), member, votes: true }
    }

    #[test]
    fn voters_without_a_zone_are_named_once_they_have_spoken() {
        let spoken = ["http://here"];
        let silent =
            Members { members: vec![voter(1, "", &[]), voter(2, "", &[]), voter(3, "", &[])], is_joint: false };
        assert_eq!(zone_warnings(&silent), Vec::<String>::new());
        let one = Members {
            members: vec![voter(1, "a", &spoken), voter(2, "", &spoken), voter(3, "", &[])],
            is_joint: false,
        };
        let warnings = zone_warnings(&one);
        assert!(warnings.len() == 1 && warnings[0].starts_with("1 of 3 voters (n2)"), "{warnings:?}");
    }
}
