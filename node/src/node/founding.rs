//! When a founder may start for the first time.
//!
//! A founder's disk is empty when the cluster is founded, and it is empty when it was lost. A member that lost its disk
//! must not vote: it would forget what it acknowledged, and could vote twice in a term. The disk cannot tell the two
//! apart, the other founders can, and so they are asked, over and over, until one of these is so:
//!
//! - **A quorum of founders, this one included, had taken part in nothing when it heard of this very incarnation.** No
//!   leader can have been elected before by a quorum that this one was in: there is nothing it could have forgotten.
//! - **A leader has written down, with a quorum that did not need this member, that this incarnation runs.** So a
//!   founder starts that was late. A leader refuses if it knows the member as one that ran.
//!
//! A founder that reaches nobody waits. decisions/0014 goes through the cases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_proto::peer::change_members_request::Change;
use holdfast_proto::peer::{ChangeMembersRequest, Envelope, HelloRequest, HelloResponse};

use super::bootstrap::{BootstrapError, ask_others, founders};
use super::identity::Identity;
use crate::ops::{RAN_BEFORE, change_of_publishing};
use crate::raft::{Founding, Incarnation, Member, work_client};
use crate::rt;
use crate::settings::Settings;
use crate::types::{ClusterId, MemberId};

/// How soon the others are asked again.
const ASK_PAUSE: Duration = Duration::from_millis(200);
/// How long a leader may take to write a member down.
const REGISTER_DEADLINE: Duration = Duration::from_secs(5);
/// How often the log says what is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A founder that wants to start.
pub struct Founder {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub incarnation: Incarnation,
    /// All founders, this one included.
    pub founders: BTreeSet<u64>,
}

/// What the answers of the others mean.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Start,
    /// The cluster exists: its leader has to write this member down first. Where it listens, as far as that is known.
    Register {
        leader: Option<(u64, Vec<String>)>,
    },
    /// Too few answered.
    Wait {
        fresh: usize,
        quorum: usize,
    },
}

/// Why a founder does not start at all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    RanBefore,
    Removed,
}

impl Founder {
    pub fn of(settings: &Settings, founding: &Founding, identity: &Identity) -> Self {
        let founders = founders(settings).members.keys().copied().collect();
        Self { cluster: identity.cluster, member: identity.member, incarnation: founding.incarnation(), founders }
    }

    pub fn question(&self) -> HelloRequest {
        HelloRequest { founder: self.member.0, incarnation: self.incarnation.0 }
    }

    /// The others' answers, of founders of the same cluster.
    fn judge(&self, answers: &[HelloResponse]) -> Result<Verdict, Refusal> {
        for hello in answers.iter().filter(|hello| !hello.members.is_empty()) {
            match hello.members.iter().find(|known| known.id == self.member.0) {
                // It answers from a state in which the cluster is founded already, and without this member.
                None => return Err(Refusal::Removed),
                Some(me) if me.client_urls.is_empty() || me.incarnation == self.incarnation.0 => {}
                Some(_) => return Err(Refusal::RanBefore),
            }
        }
        let counts = |hello: &&HelloResponse| {
            let is_other = hello.member_id != self.member.0 && self.founders.contains(&hello.member_id);
            is_other && (hello.untouched || hello.heard_incarnation == self.incarnation.0)
        };
        let fresh: BTreeSet<u64> = answers.iter().filter(counts).map(|hello| hello.member_id).collect();
        let (fresh, quorum) = (fresh.len() + 1, self.founders.len() / 2 + 1);
        if fresh >= quorum {
            return Ok(Verdict::Start);
        }
        if answers.iter().all(|hello| hello.untouched) {
            return Ok(Verdict::Wait { fresh, quorum });
        }
        let leader = answers.iter().filter(|hello| hello.leader != 0).max_by_key(|hello| hello.raft_term);
        let leader = leader.and_then(|hello| {
            let leader = hello.members.iter().find(|known| known.id == hello.leader)?;
            Some((leader.id, leader.peer_urls.clone()))
        });
        Ok(Verdict::Register { leader })
    }

    /// Asks the leader to write this member down. Whether it did.
    async fn register(
        &self,
        settings: &Settings,
        tls: &rt::PeerTls,
        leader: u64,
        urls: &[String],
    ) -> Result<bool, Refusal> {
        let me = Member {
            name: settings.name.clone(),
            peer_urls: settings.advertise_peer_urls.clone(),
            client_urls: settings.advertise_client_urls.clone(),
            zone: settings.zone.clone(),
            incarnation: self.incarnation.0,
            ..Member::default()
        };
        let envelope = Envelope { cluster_id: self.cluster.0, from_member: self.member.0, to_member: leader };
        let change: Change = change_of_publishing(self.member, &me);
        for url in urls {
            let Ok(channel) = rt::connect(url, tls) else { continue };
            let request = ChangeMembersRequest { envelope: Some(envelope), change: Some(change.clone()) };
            let call = async move { work_client(channel).change_members(request).await };
            match rt::timeout(REGISTER_DEADLINE, call).await {
                Ok(Ok(answer)) => match answer.into_inner().refusal.as_str() {
                    "" => return Ok(true),
                    RAN_BEFORE => return Err(Refusal::RanBefore),
                    refusal => tracing::info!(refusal, "the leader did not take this member in yet"),
                },
                Ok(Err(status)) => tracing::info!(%status, "the leader did not take this member in yet"),
                Err(_elapsed) => {}
            }
        }
        Ok(false)
    }
}

/// Says what is waited for, when it changes and once a minute.
#[derive(Default)]
struct Waiting {
    said: Option<(String, rt::Instant)>,
}

impl Waiting {
    fn say(&mut self, what: String) {
        let is_news = self.said.as_ref().is_none_or(|(said, at)| *said != what || rt::since(*at) >= SAY_AGAIN);
        if is_news {
            tracing::warn!("{what}; see docs/OPERATIONS.md, \"A founder waits\"");
            self.said = Some((what, rt::now()));
        }
    }
}

/// Returns when this founder may start.
pub async fn wait_until_it_may_start(
    settings: &Settings,
    tls: &rt::PeerTls,
    founder: &Founder,
) -> Result<(), BootstrapError> {
    let mut waiting = Waiting::default();
    loop {
        let answers =
            if founder.founders.len() > 1 { ask_others(settings, tls, founder.question()).await } else { vec![] };
        // It would wait for ever for votes that the others refuse, or with enough strangers like it found a second
        // cluster.
        if let Some((url, hello)) = answers.iter().find(|(_, hello)| hello.cluster_id != founder.cluster.0) {
            let found = ClusterId(hello.cluster_id);
            return Err(BootstrapError::OtherCluster { url: url.clone(), found, wanted: founder.cluster });
        }
        let by_url: BTreeMap<_, _> = answers.into_iter().collect();
        let answers: Vec<HelloResponse> = by_url.into_values().collect();
        let step = match founder.judge(&answers) {
            Ok(Verdict::Register { leader: Some((leader, urls)) }) => {
                match founder.register(settings, tls, leader, &urls).await {
                    Ok(true) => {
                        // A candidate of before may still count a vote of an earlier life of this member.
                        rt::sleep(2 * settings.timing.election_max()).await;
                        return Ok(());
                    }
                    Ok(false) => Ok(Verdict::Register { leader: None }),
                    Err(refusal) => Err(refusal),
                }
            }
            other => other,
        };
        match step {
            Ok(Verdict::Start) => return Ok(()),
            Ok(Verdict::Register { .. }) => {
                waiting.say("the cluster exists; this founder waits for its leader to take it in".to_owned());
            }
            Ok(Verdict::Wait { fresh, quorum }) => waiting.say(format!(
                "{fresh} of the founders are known to be new, this one included; {quorum} are needed to start"
            )),
            Err(Refusal::RanBefore) => {
                let (name, member) = (settings.name.clone(), founder.member);
                return Err(BootstrapError::AlreadyBootstrapped { name, member });
            }
            Err(Refusal::Removed) => {
                return Err(BootstrapError::NotAMember {
                    cluster: founder.cluster,
                    urls: settings.advertise_peer_urls.clone(),
                });
            }
        }
        rt::sleep(ASK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use holdfast_proto::peer::MemberInfo;

    use super::*;

    const MINE: u64 = 77;

    fn founder(founders: u64) -> Founder {
        Founder {
            cluster: ClusterId(1),
            member: MemberId(1),
            incarnation: Incarnation(MINE),
            founders: (1..=founders).collect(),
        }
    }

    /// It has taken part in nothing.
    fn fresh(id: u64) -> HelloResponse {
        HelloResponse { member_id: id, untouched: true, heard_incarnation: MINE, ..Default::default() }
    }

    /// It runs in a cluster that is founded, and knows what it knows of us.
    fn running(id: u64, heard: u64, published: Option<u64>) -> HelloResponse {
        let client_urls = published.map(|_| "http://me".to_owned()).into_iter().collect();
        let me = MemberInfo { id: 1, client_urls, incarnation: published.unwrap_or(0), ..Default::default() };
        let leader = MemberInfo { id: 2, peer_urls: vec!["http://two".to_owned()], ..Default::default() };
        HelloResponse {
            member_id: id,
            leader: 2,
            members: vec![me, leader],
            heard_incarnation: heard,
            ..Default::default()
        }
    }

    fn register() -> Result<Verdict, Refusal> {
        Ok(Verdict::Register { leader: Some((2, vec!["http://two".to_owned()])) })
    }

    #[test]
    fn a_lone_founder_starts_and_one_of_several_does_not_start_alone() {
        assert_eq!(founder(1).judge(&[]), Ok(Verdict::Start));
        assert_eq!(founder(3).judge(&[]), Ok(Verdict::Wait { fresh: 1, quorum: 2 }));
        assert_eq!(founder(5).judge(&[fresh(2)]), Ok(Verdict::Wait { fresh: 2, quorum: 3 }));
    }

    #[test]
    fn a_quorum_of_new_founders_starts_whoever_is_late() {
        assert_eq!(founder(3).judge(&[fresh(3)]), Ok(Verdict::Start));
        assert_eq!(founder(5).judge(&[fresh(2), fresh(4)]), Ok(Verdict::Start));
        // The same one over two addresses, this one itself, and a stranger do not count.
        assert_eq!(
            founder(5).judge(&[fresh(2), fresh(2), fresh(1), fresh(9)]),
            Ok(Verdict::Wait { fresh: 2, quorum: 3 })
        );
    }

    #[test]
    fn one_that_was_heard_before_the_others_went_on_may_follow() {
        assert_eq!(founder(3).judge(&[running(2, MINE, None)]), Ok(Verdict::Start));
        assert_eq!(founder(5).judge(&[running(2, MINE, None), fresh(3)]), Ok(Verdict::Start));
    }

    #[test]
    fn one_that_nobody_heard_of_in_time_is_taken_in_by_the_leader() {
        assert_eq!(founder(3).judge(&[running(2, 0, None)]), register());
        // An earlier life was heard of: perhaps that one voted. Only the leader can say.
        assert_eq!(founder(3).judge(&[running(2, 5, None), running(3, 5, None)]), register());
        let mut leaderless = running(2, 0, None);
        leaderless.leader = 0;
        assert_eq!(founder(3).judge(&[leaderless]), Ok(Verdict::Register { leader: None }));
    }

    #[test]
    fn one_that_the_cluster_knows_as_having_run_is_refused() {
        assert_eq!(founder(3).judge(&[running(2, 0, Some(5))]), Err(Refusal::RanBefore));
        // Also by a cluster of a version that knew no incarnations, and whoever else is new.
        assert_eq!(founder(3).judge(&[running(2, MINE, Some(0)), fresh(3)]), Err(Refusal::RanBefore));
        // It was taken in, and lost power before it wrote that down.
        assert_eq!(founder(3).judge(&[running(2, 0, Some(MINE))]), register());
    }

    #[test]
    fn one_that_was_removed_is_no_founder_any_more() {
        let mut without = running(2, MINE, None);
        without.members.remove(0);
        assert_eq!(founder(3).judge(&[without, fresh(3)]), Err(Refusal::Removed));
    }
}
