//! Watchers: each follows a folder or everything, with or without a filter, for a while at one node, and goes on at
//! another from where it got to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use holdfast_node::rt;
use holdfast_proto::etcdserverpb::watch_client::WatchClient;
use holdfast_proto::etcdserverpb::watch_create_request::FilterType;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use holdfast_proto::mvccpb::{self, event::EventType};
use parking_lot::Mutex;
use tonic::Streaming;

use super::{NAME, Record, session};
use crate::checker::watch::{Before, Event, Filter, Message, Session, State};
use crate::workload::wire::{key_of, revision, value_of};
use crate::workload::{Client, PATIENCE};

/// Sessions that one watcher takes up after one another before it begins with other wishes.
const SESSIONS_MAX: u64 = 6;
/// How long a watcher waits for a message before it looks around.
const MESSAGE_WAIT: Duration = Duration::from_millis(500);
const FIRST_REVISION: i64 = 1;
/// A watch from the beginning is complete when a mark says so; it is asked for again and again.
const MARKS_ASKED: usize = 60;

/// An open watch.
struct Open {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

pub async fn run(mut client: Client, record: Arc<Mutex<Record>>) {
    while !client.stage().is_over() {
        let prefix = match client.below(3) {
            0 => format!("{NAME}/"),
            folder => format!("{NAME}/{}/", folder - 1),
        };
        let filter = match client.below(5) {
            0 => Filter::NoPuts,
            1 => Filter::NoDeletes,
            _ => Filter::All,
        };
        let before = if client.below(2) == 0 { Before::Shown } else { Before::NotShown };
        // From the beginning, or from now on.
        let mut from = if client.below(4) == 0 { FIRST_REVISION } else { 0 };
        for _ in 0..=client.below(SESSIONS_MAX) {
            let name = format!("{NAME} {} from {from}", client.process.0);
            let wanted = session(name, &prefix, filter, before, from);
            if let Some(seen) = one_session(&mut client, wanted).await {
                from = seen.seen_up_to() + 1;
                record.lock().sessions.push(seen);
            }
            client.stage().breathe().await;
            if client.stage().is_over() {
                return;
            }
        }
    }
}

/// At one node, for up to a few seconds. None if the watch was not created.
async fn one_session(client: &mut Client, mut session: Session) -> Option<Session> {
    let node = client.index(client.stage().world.nodes());
    let channel = client.channel(node);
    let mut open = rt::timeout(PATIENCE, open(channel, &mut session)).await.ok()??;
    session.name = format!("{} at n{}", session.name, node + 1);
    let until = rt::now() + Duration::from_millis(200 + client.below(4_000));
    while rt::now() < until && !client.stage().is_over() {
        if client.below(4) == 0 {
            ask_for_mark(&mut open);
        }
        match rt::timeout(MESSAGE_WAIT, open.answers.message()).await {
            Ok(Ok(Some(answer))) if answer.canceled => {
                if answer.compact_revision != 0 {
                    client.stage().object(&format!("{}: canceled as compacted, and nobody compacts", session.name));
                }
                break;
            }
            Ok(Ok(Some(answer))) => match message(&answer) {
                Ok(message) => session.messages.push(message),
                Err(what) => client.stage().object(&format!("{}: {what}", session.name)),
            },
            Ok(Ok(None) | Err(_)) => break,
            Err(_) => {}
        }
    }
    client.stage().timeline.say(&session.name, format!("ends, has seen all up to {}", session.seen_up_to()));
    Some(session)
}

fn ask_for_mark(open: &mut Open) {
    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
    // A stream that has ended says so to its reader.
    let _ended = open.requests.try_send(WatchRequest { request_union: Some(progress) });
}

/// None if the server did not create it; otherwise `session.from` is what the watch begins at.
async fn open(channel: rt::Channel, session: &mut Session) -> Option<Open> {
    let (mut requests, queue) = mpsc::channel(4);
    let mut range_end = session.prefix.clone().into_bytes();
    // The byte behind the slash that every prefix ends with.
    *range_end.last_mut()? += 1;
    let filters = match session.filter {
        Filter::All => Vec::new(),
        Filter::NoPuts => vec![FilterType::Noput.into()],
        Filter::NoDeletes => vec![FilterType::Nodelete.into()],
    };
    let create = WatchCreateRequest {
        key: Bytes::from(session.prefix.clone()),
        range_end: range_end.into(),
        start_revision: session.from,
        prev_kv: session.before == Before::Shown,
        filters,
        ..WatchCreateRequest::default()
    };
    requests.try_send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).ok()?;
    let mut answers = WatchClient::new(channel).watch(queue).await.ok()?.into_inner();
    let created = answers.message().await.ok()??;
    if !created.created || created.canceled {
        return None;
    }
    if session.from == 0 {
        session.from = revision(created.header.as_ref()) + 1;
    }
    Some(Open { requests, answers })
}

fn message(answer: &WatchResponse) -> Result<Message, String> {
    if answer.events.is_empty() {
        return Ok(Message::Progress(revision(answer.header.as_ref())));
    }
    answer.events.iter().map(event).collect::<Result<_, _>>().map(Message::Events)
}

fn event(event: &mvccpb::Event) -> Result<Event, String> {
    let kv = event.kv.as_ref().ok_or("an event without a key")?;
    let state = match event.r#type() {
        EventType::Put => Some(state(kv)?),
        EventType::Delete => None,
    };
    let before = event.prev_kv.as_ref().map(self::state).transpose()?;
    Ok(Event { key: key_of(kv), revision: kv.mod_revision, state, before })
}

fn state(kv: &mvccpb::KeyValue) -> Result<State, String> {
    let (version, created, modified) = (kv.version, kv.create_revision, kv.mod_revision);
    Ok(State { value: value_of(kv)?, version, created, modified })
}

/// All that happened, as each member tells it now that they are equal.
pub async fn from_the_beginning(mut client: Client, record: Arc<Mutex<Record>>) {
    for node in client.stage().world.members() {
        let channel = client.channel(node);
        let name = format!("all of n{}", node + 1);
        match all_of(channel, name).await {
            Ok(session) => record.lock().last.push(session),
            Err(what) => record.lock().trouble.push(format!("n{} does not tell all that happened: {what}", node + 1)),
        }
    }
}

async fn all_of(channel: rt::Channel, name: String) -> Result<Session, String> {
    let mut session = session(name, &format!("{NAME}/"), Filter::All, Before::Shown, FIRST_REVISION);
    let created = rt::timeout(PATIENCE, open(channel, &mut session)).await.map_err(|_| "no watch in time")?;
    let mut open = created.ok_or("no watch was created")?;
    for _ in 0..MARKS_ASKED {
        ask_for_mark(&mut open);
        while let Ok(answer) = rt::timeout(MESSAGE_WAIT, open.answers.message()).await {
            let answer = answer.map_err(|status| status.to_string())?.ok_or("the stream ended")?;
            if answer.canceled {
                return Err(format!("canceled: {}", answer.cancel_reason));
            }
            let message = message(&answer)?;
            let is_mark = matches!(message, Message::Progress(_));
            session.messages.push(message);
            if is_mark {
                return Ok(session);
            }
        }
    }
    Err(format!("no mark although {MARKS_ASKED} were asked for"))
}
