//! Leases: granted, given a key, renewed for a while, left alone or revoked, and looked at all the time. Some come in
//! bunches, each renewed at about the moment at which it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest, PutRequest, RangeRequest,
};
use parking_lot::Mutex;
use tonic::{Response, Status};

use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::lease::{self, Look, Promise, Story};
use crate::history::{Fate, Tally};
use crate::report::Violation;

const NAME: &str = "lease";
/// Seconds.
const TTL_LEAST: u64 = 2;
const TTL_MOST: u64 = 6;
/// Times that a client comes back to one lease.
const VISITS_MAX: u64 = 20;
/// By how much a late renewal is late: leaders look for what has run out every 100 ms.
const LATE_MS_MAX: u64 = 150;
/// Leases of a bunch.
const BUNCH: u64 = 10;
/// After the longest TTL, for members to elect and to look for what has run out.
const GRACE: Duration = Duration::from_secs(15);

pub struct Lease {
    record: Arc<Mutex<Record>>,
    clock_drift_ppm: u64,
}

#[derive(Default)]
struct Record {
    stories: Vec<Story>,
    tally: Tally,
    /// When all leases must have ended.
    over_by: Option<Duration>,
}

impl Lease {
    pub fn new(stage: &Stage) -> Self {
        Self { record: Arc::default(), clock_drift_ppm: stage.clock_drift_ppm }
    }
}

impl Workload for Lease {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let holder = Holder { client: Client::new(stage, number), record: Arc::clone(&self.record) };
            Box::pin(holder.run()) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    /// When the last lease has run out: every key once more.
    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let (record, stage) = (Arc::clone(&self.record), stage.clone());
        Box::pin(async move {
            rt::sleep(Duration::from_secs(TTL_MOST) + GRACE).await;
            let over_by = stage.timeline.now();
            let mut client = Client::new(&stage, stage.clients);
            let mut stories = std::mem::take(&mut record.lock().stories);
            for story in &mut stories {
                let _unanswered = look(&mut client, story).await;
            }
            let mut record = record.lock();
            (record.stories, record.over_by) = (stories, Some(over_by));
        })
    }

    fn judge(&self) -> Vec<Violation> {
        let record = self.record.lock();
        let fast_ppm = u32::try_from(self.clock_drift_ppm).expect("far below one");
        let over_by = record.over_by.unwrap_or(Duration::MAX);
        let found = lease::check(&record.stories, fast_ppm, over_by);
        found.iter().map(|violation| Violation::of(NAME, violation)).collect()
    }

    fn tally(&self) -> Tally {
        self.record.lock().tally
    }

    fn notes(&self) -> Vec<String> {
        let record = self.record.lock();
        let ended = record.stories.iter().filter(|story| story.looks.iter().any(|look| !look.is_alive)).count();
        vec![format!("{} leases, {ended} seen to end", record.stories.len())]
    }
}

struct Holder {
    client: Client,
    record: Arc<Mutex<Record>>,
}

impl Holder {
    async fn run(mut self) {
        while !self.client.stage().is_over() {
            let stories = match self.client.below(3) {
                0 => self.bunch().await,
                _ => self.one_lease().await.into_iter().collect(),
            };
            self.record.lock().stories.extend(stories);
            self.client.stage().breathe().await;
        }
    }

    /// Leases that are renewed while their end is being proposed, if it so happens: what is promised then must be kept
    /// as well. A single one rarely meets that moment.
    async fn bunch(&mut self) -> Vec<Story> {
        let (mut held, mut stories) = (Vec::new(), Vec::new());
        for _ in 0..BUNCH {
            if self.client.stage().is_over() {
                break;
            }
            let Some(mut story) = self.grant(TTL_LEAST).await else { continue };
            if self.attach(&mut story).await { held.push(story) } else { stories.push(story) }
        }
        for story in &mut held {
            let ends = story.promises.last().map_or(Duration::ZERO, |promise| promise.answered + promise.ttl);
            let late = Duration::from_millis(self.client.below(LATE_MS_MAX));
            rt::sleep((ends + late).saturating_sub(self.client.stage().timeline.now())).await;
            self.renew(story).await;
        }
        rt::sleep(Duration::from_millis(self.client.below(500))).await;
        for story in &mut held {
            self.look(story).await;
        }
        stories.extend(held);
        stories
    }

    fn say(&self, what: impl Into<String>) -> Duration {
        self.client.stage().timeline.say(&format!("{NAME} {}", self.client.process.0), what)
    }

    fn count(&self, fate: Fate) {
        let mut record = self.record.lock();
        record.tally = record.tally.and(Tally::of([fate]));
    }

    /// None if it did not come into being, or nobody knows.
    async fn one_lease(&mut self) -> Option<Story> {
        let ttl = TTL_LEAST + self.client.below(TTL_MOST - TTL_LEAST + 1);
        let mut story = self.grant(ttl).await?;
        if !self.attach(&mut story).await {
            return Some(story);
        }
        if self.client.below(2) == 0 && !self.come_late(&mut story).await {
            return Some(story);
        }
        let renewals = self.client.below(6);
        for visit in 0..VISITS_MAX {
            rt::sleep(Duration::from_millis(50 + self.client.below(800))).await;
            if visit < renewals && !self.renew(&mut story).await {
                break;
            }
            if visit == renewals && self.client.below(4) == 0 {
                self.revoke(&mut story).await;
            }
            if self.look(&mut story).await == Some(false) || self.client.stage().is_over() {
                break;
            }
        }
        Some(story)
    }

    /// None if it did not come into being, or nobody knows.
    async fn grant(&mut self, ttl: u64) -> Option<Story> {
        let asked = self.say(format!("grant {ttl} s ..."));
        let grant = LeaseGrantRequest { ttl: i64::try_from(ttl).expect("small"), id: 0 };
        let granted = ask(LeaseClient::new(self.client.anywhere()).lease_grant(grant)).await;
        self.count(fate_of(&granted));
        let granted = granted.ok()?;
        let answered = self.say(format!("granted {:x} for {} s", granted.id, granted.ttl));
        let promise = Promise { asked, answered, ttl: seconds(granted.ttl) };
        let wanted = Duration::from_secs(ttl);
        Some(Story { id: granted.id, wanted, promises: vec![promise], ..Story::default() })
    }

    /// Whether the key was given to the lease.
    async fn attach(&mut self, story: &mut Story) -> bool {
        let put = PutRequest { key: key_of(story.id), lease: story.id, ..PutRequest::default() };
        let asked = self.client.stage().timeline.now();
        match ask(KvClient::new(self.client.anywhere()).put(put)).await {
            Answer::Ok(_) => true,
            Answer::Failed(why) if why.contains("lease not found") => {
                let answered = self.say(format!("{:x} has no lease any more", story.id));
                story.looks.push(Look { asked, answered, is_alive: false });
                false
            }
            Answer::Failed(_) | Answer::Unknown(_) | Answer::Strange(_) => {
                // The key may come into being later, or never: there is nothing to look at.
                story.id = 0;
                false
            }
        }
    }

    /// Renews when the time is up, just before or after the lease ends, or while it does: what is promised then must be
    /// kept as well. Whether the lease may still be alive.
    async fn come_late(&mut self, story: &mut Story) -> bool {
        let ttl = story.promises.last().map_or(Duration::ZERO, |promise| promise.ttl);
        rt::sleep(ttl + Duration::from_millis(self.client.below(LATE_MS_MAX))).await;
        self.renew(story).await
    }

    /// Whether the lease may still be alive.
    async fn renew(&mut self, story: &mut Story) -> bool {
        let asked = self.say(format!("renew {:x} ...", story.id));
        let id = story.id;
        let answer = ask(keep_alive(LeaseClient::new(self.client.anywhere()), id)).await;
        self.count(fate_of(&answer));
        let Answer::Ok(answer) = answer else { return true };
        let answered = self.say(format!("renewed {id:x}: {} s", answer.ttl));
        if answer.ttl > 0 {
            story.promises.push(Promise { asked, answered, ttl: seconds(answer.ttl) });
        } else {
            story.looks.push(Look { asked, answered, is_alive: false });
        }
        answer.ttl > 0
    }

    async fn revoke(&mut self, story: &mut Story) {
        story.revoked = Some(self.say(format!("revoke {:x} ...", story.id)));
        let answer =
            ask(LeaseClient::new(self.client.anywhere()).lease_revoke(LeaseRevokeRequest { id: story.id })).await;
        self.count(fate_of(&answer));
    }

    async fn look(&mut self, story: &mut Story) -> Option<bool> {
        let seen = look(&mut self.client, story).await;
        self.count(if seen.is_some() { Fate::Ok } else { Fate::Failed });
        if seen == Some(false) {
            self.say(format!("{:x} has ended", story.id));
        }
        seen
    }
}

async fn look(client: &mut Client, story: &mut Story) -> Option<bool> {
    if story.id == 0 {
        return None;
    }
    let asked = client.stage().timeline.now();
    let get = RangeRequest { key: key_of(story.id), ..RangeRequest::default() };
    let answer = ask(KvClient::new(client.anywhere()).range(get)).await.ok()?;
    let is_alive = answer.count > 0;
    story.looks.push(Look { asked, answered: client.stage().timeline.now(), is_alive });
    Some(is_alive)
}

/// One renewal on a stream of its own.
async fn keep_alive(mut client: LeaseClient<rt::Channel>, id: i64) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let requests = futures::stream::iter([LeaseKeepAliveRequest { id }]);
    let mut answers = client.lease_keep_alive(requests).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(Response::new(answer)),
        None => Err(Status::unavailable("the stream ended without an answer")),
    }
}

fn key_of(id: i64) -> Bytes {
    Bytes::from(format!("{NAME}/{id:x}"))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn fate_of<T>(answer: &Answer<T>) -> Fate {
    match answer {
        Answer::Ok(_) => Fate::Ok,
        Answer::Failed(_) => Fate::Failed,
        Answer::Unknown(_) | Answer::Strange(_) => Fate::Unknown,
    }
}
