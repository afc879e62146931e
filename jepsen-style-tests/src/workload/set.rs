//! A set: each element is a key of its own, and a look reads them all.

use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest, RangeResponse};

use super::wire::{bytes_of, revision, value_of};
use super::{Answer, Client, Stage, Workload, ask};
use crate::checker::set::{self, Element, SetAction};
use crate::history::{Recorder, Tally};
use crate::report::Violation;

const NAME: &str = "set";
/// No look costs more than that many elements.
const ELEMENTS_MAX: usize = 4_000;

pub struct Set {
    recorder: Recorder<SetAction>,
}

impl Set {
    pub fn new(stage: &Stage) -> Self {
        Self { recorder: Recorder::new(NAME, &stage.timeline) }
    }
}

impl Workload for Set {
    fn clients(&self, stage: &Stage) -> Vec<BoxFuture<'static, ()>> {
        let client = |number| {
            let (client, recorder) = (Client::new(stage, number), self.recorder.clone());
            Box::pin(work(client, recorder)) as BoxFuture<'static, ()>
        };
        (0..stage.clients).map(client).collect()
    }

    fn last_look(&self, stage: &Stage) -> BoxFuture<'static, ()> {
        let (mut client, recorder) = (Client::new(stage, stage.clients), self.recorder.clone());
        Box::pin(async move { look(&mut client, &recorder).await })
    }

    fn judge(&self) -> Vec<Violation> {
        set::check(&self.recorder.history().operations).iter().map(|one| Violation::of(NAME, one)).collect()
    }

    fn tally(&self) -> Tally {
        self.recorder.tally()
    }
}

async fn work(mut client: Client, recorder: Recorder<SetAction>) {
    let mut added = 0;
    while !client.stage().is_over() {
        if client.below(10) < 7 && added * client.stage().clients as usize <= ELEMENTS_MAX {
            added += 1;
            add(&mut client, &recorder).await;
        } else {
            look(&mut client, &recorder).await;
        }
        client.stage().breathe().await;
    }
}

async fn add(client: &mut Client, recorder: &Recorder<SetAction>) {
    let element = client.unique();
    let key = format!("{NAME}/{element}");
    let put = PutRequest { key: Bytes::from(key.clone()), value: bytes_of(element), ..PutRequest::default() };
    let mut kv = KvClient::new(client.anywhere());
    let open = recorder.begin(client.process, SetAction::Add(element));
    match ask(kv.put(put)).await {
        Answer::Ok(answer) => {
            client.stage().promises.lock().written(&key, revision(answer.header.as_ref()), element);
            open.ok(SetAction::Add(element));
        }
        Answer::Failed(why) => open.failed(&why),
        Answer::Unknown(why) | Answer::Strange(why) => open.unknown(&why),
    }
}

async fn look(client: &mut Client, recorder: &Recorder<SetAction>) {
    let request = RangeRequest {
        key: Bytes::from(format!("{NAME}/")),
        // The byte behind the slash.
        range_end: Bytes::from(format!("{NAME}0")),
        ..RangeRequest::default()
    };
    let mut kv = KvClient::new(client.anywhere());
    let open = recorder.begin(client.process, SetAction::Look(None));
    match ask(kv.range(request)).await.and_then(elements) {
        Answer::Ok(seen) => open.ok(SetAction::Look(Some(seen))),
        Answer::Strange(what) => {
            client.stage().object(&what);
            open.failed(&what);
        }
        Answer::Failed(why) | Answer::Unknown(why) => open.failed(&why),
    }
}

fn elements(answer: RangeResponse) -> Answer<Vec<Element>> {
    let elements: Result<Vec<Element>, String> = answer.kvs.iter().map(value_of).collect();
    match elements {
        Ok(elements) if elements.len() as i64 == answer.count && !answer.more => Answer::Ok(elements),
        Ok(elements) => Answer::Strange(format!("{} of {} elements without a limit", elements.len(), answer.count)),
        Err(what) => Answer::Strange(what),
    }
}
