//! The list of members as operators change it: learners that never start are added and removed, and the list is read.
//!
//! Members that others bring and take (the nemesis) are passed over: a member of this workload is known by its peer
//! URL, which leads nowhere. What is judged is that the list is one linearizable object.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::cluster_client::ClusterClient;
use holdfast_proto::etcdserverpb::{MemberAddRequest, MemberListRequest, MemberListResponse, MemberRemoveRequest};
use parking_lot::Mutex;

use super::rpc::ask_within;
use super::{Answer, Client, Stage, Workload};
use crate::checker::linearizable::{self, CONFIGURATIONS_MAX};
use crate::checker::model::Model;
use crate::history::{Recorder, Tally};
use crate::report::{Violation, of_verdict};

const NAME: &str = "membership";
/// Nobody listens there, and nobody is far away.
const NOWHERE: &str = "http://127.250.9.9:";
const FIRST_PORT: u64 = 1;
/// A change of members is a few rounds of the log, and waits for its turn.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);
/// Tries of the clean-up in the end.
const ATTEMPTS: usize = 20;

/// A member of this workload, by its port.
type Port = u64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Add(Port),
    Remove(Port),
    List(Option<BTreeSet<Port>>),
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(port) => write!(out, "add {port}"),
            Self::Remove(port) => write!(out, "remove {port}"),
            Self::List(None) => write!(out, "list"),
            Self::List(Some(ports)) => write!(out, "list: {ports:?}"),
        }
    }
}

struct Members;

impl Model for Members {
    type State = BTreeSet<Port>;
    type Action = Action;

    fn initial(&self) -> BTreeSet<Port> {
        BTreeSet::new()
    }

    fn step(&self, state: &BTreeSet<Port>, action: &Action) -> Option<BTreeSet<Port>> {
        let mut state = state.clone();
        match action {
            Action::Add(port) => state.insert(*port).then_some(state),
            Action::Remove(port) => state.remove(port).then_some(state),
            Action::List(seen) => seen.as_ref().is_none_or(|seen| *seen == state).then_some(state),
        }
    }

    fn only_observes(&self, action: &Action) -> bool {
        matches!(action, Action::List(_))
    }

    fn describe(&self, state: &BTreeSet<Port>) -> String {
        format!("{state:?}")
    }
}

pub struct Membership {
    recorder: Recorder<Action>,
    /// Members that were seen, with their ids.
    known: Arc<Mutex<Vec<(Port, u64)>>>,
}

impl Membership {
    pub fn new(stage: &Stage) -> Self {
        Self { recorder: Recorder::new(NAME, &stage.timeline), known: Arc::default() }
    }
}

impl Workload for Membership {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (recorder, known) = (self.recorder.clone(), Arc::clone(&self.known));
            let operator = Operator { client: Client::new(stage, number), recorder, known, added: 0 };
            Box::pin(operator.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    /// Leaves no learner behind.
    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let (client, recorder) = (Client::new(stage, stage.clients), self.recorder.clone());
        let mut operator = Operator { client, recorder, known: Arc::clone(&self.known), added: 0 };
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                if operator.list().await.is_some_and(|members| members.is_empty()) {
                    return;
                }
                let known = operator.known.lock().clone();
                for (port, id) in known {
                    operator.remove(port, id).await;
                }
                rt::sleep(std::time::Duration::from_millis(200)).await;
            }
            operator.client.stage().object("the members that were added cannot be removed");
        })
    }

    fn judge(&self) -> Vec<Violation> {
        let operations = self.recorder.history().operations;
        let judge = |operations: &[_]| linearizable::check(&Members, operations, CONFIGURATIONS_MAX);
        of_verdict(&operations, |_| NAME, judge).into_iter().collect()
    }

    fn tally(&self) -> Tally {
        self.recorder.tally()
    }
}

struct Operator {
    client: Client,
    recorder: Recorder<Action>,
    known: Arc<Mutex<Vec<(Port, u64)>>>,
    added: u64,
}

impl Operator {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            match self.client.below(10) {
                0 => self.add().await,
                1..=2 => {
                    let known = self.known.lock().last().copied();
                    if let Some((port, id)) = known {
                        self.remove(port, id).await;
                    }
                }
                _ => drop(self.list().await),
            }
            self.client.stage().breathe().await;
        }
    }

    async fn add(&mut self) {
        self.added += 1;
        let port = FIRST_PORT + self.client.process.0 * 1_000 + self.added;
        let request = MemberAddRequest { peer_ur_ls: vec![format!("{NOWHERE}{port}")], is_learner: true };
        let mut cluster = ClusterClient::new(self.client.anywhere());
        let open = self.recorder.begin(self.client.process, Action::Add(port));
        match ask_within(PATIENCE, cluster.member_add(request)).await {
            Answer::Ok(answer) => {
                if let Some(member) = answer.member {
                    self.known.lock().push((port, member.id));
                }
                open.ok(Action::Add(port));
            }
            Answer::Failed(why) => open.failed(&why),
            Answer::Unknown(why) | Answer::Strange(why) => open.unknown(&why),
        }
    }

    async fn remove(&mut self, port: Port, id: u64) {
        let mut cluster = ClusterClient::new(self.client.anywhere());
        let open = self.recorder.begin(self.client.process, Action::Remove(port));
        match ask_within(PATIENCE, cluster.member_remove(MemberRemoveRequest { id })).await {
            Answer::Ok(_) => {
                self.known.lock().retain(|known| known.1 != id);
                open.ok(Action::Remove(port));
            }
            Answer::Failed(why) => {
                if why.contains("member not found") {
                    self.known.lock().retain(|known| known.1 != id);
                }
                open.failed(&why);
            }
            Answer::Unknown(why) | Answer::Strange(why) => open.unknown(&why),
        }
    }

    async fn list(&mut self) -> Option<BTreeSet<Port>> {
        let mut cluster = ClusterClient::new(self.client.anywhere());
        let open = self.recorder.begin(self.client.process, Action::List(None));
        match ask_within(PATIENCE, cluster.member_list(MemberListRequest { linearizable: true })).await {
            Answer::Ok(answer) => {
                let ours = ours(&answer);
                let ports: BTreeSet<Port> = ours.iter().map(|(port, _)| *port).collect();
                // A member whose addition was never answered is found here, and can be removed.
                let mut known = self.known.lock();
                let new: Vec<(Port, u64)> = ours.into_iter().filter(|one| !known.contains(one)).collect();
                known.extend(new);
                drop(known);
                open.ok(Action::List(Some(ports.clone())));
                Some(ports)
            }
            Answer::Failed(why) | Answer::Unknown(why) | Answer::Strange(why) => {
                open.failed(&why);
                None
            }
        }
    }
}

fn ours(answer: &MemberListResponse) -> Vec<(Port, u64)> {
    let port = |url: &String| url.strip_prefix(NOWHERE)?.parse().ok();
    answer.members.iter().filter_map(|member| Some((member.peer_ur_ls.iter().find_map(port)?, member.id))).collect()
}
