//! Where the next attempt goes.
//!
//! ```text
//! Target::Leader   the leader where known and in good health, else as Any
//! Target::Any      the endpoint used last, as long as it works ("sticky": one warm connection, and a client's own
//!                  requests stay in order); the first choice is random, which spreads clients over the members
//! Target::At(a)    that endpoint and no other: status, hash and snapshot are about one member
//! ```
//!
//! An endpoint that failed rests for a while, longer each time, and is passed over. When all rest, the one that has
//! rested longest is tried: resting never makes a request fail by itself.
//!
//! Who leads is learned from `Status` answers, which also tell which endpoint is which member. Every answer's term
//! is compared with the highest seen, so that an election is noticed without asking.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tonic::Status;

use crate::connect::{Channel, Connector, not_connected, url_of};
use crate::{Error, rt};

/// The first rest after a failure; it doubles with each further one.
const REST_FIRST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(5);
/// How long an endpoint is passed over that took a request and does not answer it; an answer ends it at once. Longer
/// than an election, or those that say meanwhile that there is no leader would make it look like the better choice.
const SUSPICION: Duration = Duration::from_secs(3);
/// Callers that waited for somebody else's attempt to connect share its failure if it is not older than this.
const SHARED_FAILURE: Duration = Duration::from_millis(100);

/// Who should get a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Leader,
    Any,
    At(String),
}

/// One endpoint and its connection.
pub(crate) struct Slot {
    pub(crate) address: String,
    /// Held while connecting, so that a crowd of callers makes one connection.
    link: tokio::sync::Mutex<Link>,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Link {
    channel: Option<Channel>,
    /// Counts connections, so that a late failure of an old one does not throw away its successor.
    generation: u64,
    failed: Option<(rt::Instant, Status)>,
}

#[derive(Default)]
struct Health {
    /// Who answers here, once it has.
    member: Option<u64>,
    failures: u32,
    rests_until: Option<rt::Instant>,
    suspected_until: Option<rt::Instant>,
}

/// A channel, and which connection of its slot it is.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    generation: u64,
}

impl Slot {
    fn new(address: String) -> Arc<Self> {
        Arc::new(Self { address, link: tokio::sync::Mutex::default(), health: Mutex::default() })
    }

    /// The channel of this endpoint, connecting where there is none. Any failure means that nothing was sent.
    pub(crate) async fn connection(
        &self,
        connector: &dyn Connector,
        connect_timeout: Duration,
    ) -> Result<Connection, Status> {
        let mut link = self.link.lock().await;
        if let Some(channel) = &link.channel {
            return Ok(Connection { channel: channel.clone(), generation: link.generation });
        }
        if let Some((when, status)) = &link.failed
            && when.elapsed() < SHARED_FAILURE
        {
            return Err(status.clone());
        }
        let connected = match rt::timeout(connect_timeout, connector.connect(&self.address)).await {
            Ok(connected) => connected.map_err(|status| not_connected(format_args!("{}: {status}", self.address))),
            Err(_) => Err(not_connected(format_args!("{} did not accept within {connect_timeout:?}", self.address))),
        };
        match connected {
            Ok(channel) => {
                link.generation += 1;
                link.failed = None;
                link.channel = Some(channel.clone());
                Ok(Connection { channel, generation: link.generation })
            }
            Err(status) => {
                link.failed = Some((rt::Instant::now(), status.clone()));
                Err(status)
            }
        }
    }

    /// Forgets a broken connection.
    pub(crate) async fn disconnect(&self, broken: &Connection) {
        let mut link = self.link.lock().await;
        if link.generation == broken.generation {
            link.channel = None;
        }
    }

    pub(crate) fn rest(&self) {
        let mut health = self.health.lock();
        let pause = REST_FIRST.saturating_mul(1 << health.failures.min(10)).min(REST_MAX);
        health.failures += 1;
        health.rests_until = Some(rt::Instant::now() + pause);
    }

    /// It does not answer. True for the first to say so; a crowd that waits for one endpoint is one complaint.
    pub(crate) fn suspect(&self) -> bool {
        let mut health = self.health.lock();
        let now = rt::Instant::now();
        let is_first = health.suspected_until.is_none_or(|until| until <= now);
        if is_first {
            health.suspected_until = Some(now + SUSPICION);
        }
        is_first
    }

    /// It answered, as `member`.
    pub(crate) fn answered(&self, member: Option<u64>) {
        let mut health = self.health.lock();
        health.failures = 0;
        health.rests_until = None;
        health.suspected_until = None;
        if member.is_some() {
            health.member = member;
        }
    }

    /// It said who it is. That it will answer a request it holds back does not follow: a leader that is cut off from
    /// its peers, or whose disk hangs, says this too.
    pub(crate) fn introduced(&self, member: u64) {
        let mut health = self.health.lock();
        health.failures = 0;
        health.rests_until = None;
        health.member = Some(member);
    }

    fn member(&self) -> Option<u64> {
        self.health.lock().member
    }

    /// Until when it should be passed over, if it should.
    fn resting(&self, now: rt::Instant) -> Option<rt::Instant> {
        let health = self.health.lock();
        health.rests_until.max(health.suspected_until).filter(|until| *until > now)
    }
}

/// The endpoints of one client.
pub(crate) struct Endpoints {
    state: Mutex<State>,
}

struct State {
    slots: Vec<Arc<Slot>>,
    /// Index of the endpoint in use.
    sticky: usize,
    /// Member that leads, as far as is known.
    leader: Option<u64>,
    /// Highest term seen in an answer.
    term: u64,
}

/// What an answer's header taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    /// A new term: there was an election.
    Election,
}

impl Endpoints {
    pub(crate) fn new(addresses: Vec<String>) -> Result<Self, Error> {
        let addresses = distinct(addresses);
        if addresses.is_empty() {
            return Err(Error::Usage("no endpoint given; name at least one, such as 127.0.0.1:2379".into()));
        }
        let slots: Vec<_> = addresses.into_iter().map(Slot::new).collect();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let sticky = (rt::chance() * slots.len() as f64) as usize % slots.len();
        Ok(Self { state: Mutex::new(State { slots, sticky, leader: None, term: 0 }) })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.state.lock().slots.clone()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.state.lock().slots.iter().map(|slot| slot.address.clone()).collect()
    }

    /// The endpoint for the next attempt.
    pub(crate) fn pick(&self, target: &Target) -> Arc<Slot> {
        let now = rt::Instant::now();
        let mut state = self.state.lock();
        match target {
            Target::At(address) => {
                let known = state.slots.iter().find(|slot| url_of(&slot.address) == url_of(address));
                return known.map_or_else(|| Slot::new(address.clone()), Arc::clone);
            }
            Target::Leader => {
                let leading = state.leader.and_then(|leader| {
                    state.slots.iter().find(|slot| slot.member() == Some(leader) && slot.resting(now).is_none())
                });
                if let Some(slot) = leading {
                    return Arc::clone(slot);
                }
            }
            Target::Any => {}
        }
        let count = state.slots.len();
        let ring = (0..count).map(|step| (state.sticky + step) % count);
        let awake = ring.clone().find(|&index| state.slots[index].resting(now).is_none());
        let chosen = awake.or_else(|| ring.min_by_key(|&index| state.slots[index].resting(now)));
        state.sticky = chosen.unwrap_or(state.sticky);
        Arc::clone(&state.slots[state.sticky])
    }

    /// Takes note of an answer's term.
    pub(crate) fn heard(&self, term: u64) -> News {
        let mut state = self.state.lock();
        if term <= state.term {
            return News::Nothing;
        }
        state.term = term;
        News::Election
    }

    /// The highest term heard of.
    pub(crate) fn term(&self) -> u64 {
        self.state.lock().term
    }

    pub(crate) fn knows_leader(&self) -> bool {
        self.state.lock().leader.is_some()
    }

    pub(crate) fn set_leader(&self, leader: Option<u64>) {
        self.state.lock().leader = leader;
    }

    /// The address at which the leader answers, where it is known.
    pub(crate) fn leader_address(&self) -> Option<String> {
        let state = self.state.lock();
        let leader = state.leader?;
        state.slots.iter().find(|slot| slot.member() == Some(leader)).map(|slot| slot.address.clone())
    }

    /// Puts other endpoints in place. The connections of those that stay are kept.
    pub(crate) fn replace(&self, addresses: Vec<String>) {
        let addresses = distinct(addresses);
        if addresses.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let in_use = url_of(&state.slots[state.sticky].address);
        let mut old: BTreeMap<String, Arc<Slot>> =
            state.slots.drain(..).map(|slot| (url_of(&slot.address), slot)).collect();
        state.slots = addresses
            .into_iter()
            .map(|address| old.remove(&url_of(&address)).unwrap_or_else(|| Slot::new(address)))
            .collect();
        state.sticky = state.slots.iter().position(|slot| url_of(&slot.address) == in_use).unwrap_or(0);
    }
}

/// Without the blanks and the repetitions, in the order given.
fn distinct(addresses: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for address in addresses {
        let address = address.trim().trim_end_matches('/').to_owned();
        if !address.is_empty() && !kept.iter().any(|other| url_of(other) == url_of(&address)) {
            kept.push(address);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(addresses: &[&str]) -> Endpoints {
        Endpoints::new(addresses.iter().map(|&address| address.to_owned()).collect()).expect("not empty")
    }

    #[tokio::test]
    async fn the_choice_sticks_until_it_fails() {
        let endpoints = endpoints(&["a", "b", "c"]);
        let first = endpoints.pick(&Target::Any);
        assert_eq!(endpoints.pick(&Target::Any).address, first.address);
        first.rest();
        let second = endpoints.pick(&Target::Any);
        assert_ne!(second.address, first.address);
        first.answered(None);
        assert_eq!(endpoints.pick(&Target::Any).address, second.address, "no running back");
    }

    #[tokio::test]
    async fn when_all_rest_the_first_to_wake_is_tried() {
        let endpoints = endpoints(&["a", "b"]);
        let tired = endpoints.pick(&Target::Any);
        tired.rest();
        tired.rest();
        let other = endpoints.pick(&Target::Any);
        other.rest();
        assert_eq!(endpoints.pick(&Target::Any).address, other.address);
    }

    #[tokio::test]
    async fn writes_go_to_the_leader_while_it_is_well() {
        let endpoints = endpoints(&["a", "b", "c"]);
        let sticky = endpoints.pick(&Target::Any).address.clone();
        let leader = endpoints.all().into_iter().find(|slot| slot.address != sticky).expect("three");
        leader.answered(Some(7));
        assert_eq!(endpoints.pick(&Target::Leader).address, sticky, "nobody said that 7 leads");
        endpoints.set_leader(Some(7));
        assert_eq!(endpoints.pick(&Target::Leader).address, leader.address);
        assert_eq!(endpoints.pick(&Target::Any).address, sticky);
        leader.rest();
        assert_eq!(endpoints.pick(&Target::Leader).address, sticky);
    }

    #[tokio::test]
    async fn replacing_keeps_what_stays() {
        let endpoints = endpoints(&["a", "http://b", " a/ ", ""]);
        assert_eq!(endpoints.addresses(), ["a", "http://b"]);
        endpoints.all()[1].answered(Some(2));
        endpoints.set_leader(Some(2));
        endpoints.replace(vec!["http://c".into(), "http://b".into()]);
        assert_eq!(endpoints.leader_address().as_deref(), Some("http://b"));
        endpoints.replace(vec![]);
        assert_eq!(endpoints.addresses().len(), 2, "an empty list of members is nonsense, not an instruction");
    }

    #[test]
    fn a_term_is_news_once() {
        let endpoints = endpoints(&["a"]);
        assert_eq!(endpoints.heard(3), News::Election);
        assert_eq!(endpoints.heard(3), News::Nothing);
        assert_eq!(endpoints.heard(2), News::Nothing);
    }
}
