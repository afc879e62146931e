//! Watch streams of one side: what was asked on them, and what came.
//!
//! How events are cut into messages is the server's to choose. So what is compared is, for each watcher, the sequence
//! of its events and how it ended; and, one by one, the answers to requests (created, canceled, progress).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use holdfast_proto::etcdserverpb::watch_client::WatchClient;
use holdfast_proto::etcdserverpb::watch_request::RequestUnion;
use holdfast_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use holdfast_proto::mvccpb::Event;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::normal::Names;
use super::request::with_token;

/// Requests on their way to one server.
const REQUESTS_MAX: usize = 16;
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A step with watchers.
#[derive(Clone, Debug)]
pub enum WatchStep {
    /// First of all: a stream that watches everything, for all of the round.
    Witness,
    Open {
        stream: usize,
    },
    Create {
        stream: usize,
        request: WatchCreateRequest,
    },
    Cancel {
        stream: usize,
        watch_id: i64,
    },
    Progress {
        stream: usize,
    },
    /// On a stream of its own, which is gone after the answer.
    Peek {
        request: WatchCreateRequest,
    },
    /// Wait until every watcher has everything, and compare.
    Settle,
    Close {
        stream: usize,
    },
}

impl WatchStep {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Witness => "Watch, witness",
            Self::Open { .. } => "Watch, open",
            Self::Create { .. } => "Watch, create",
            Self::Cancel { .. } => "Watch, cancel",
            Self::Progress { .. } => "Watch, progress",
            Self::Peek { .. } => "Watch, peek",
            Self::Settle => "Watch, compare",
            Self::Close { .. } => "Watch, close",
        }
    }
}

/// What a watcher was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Event(Event),
    /// The server ended it, as its history is gone. etcd 3.5.1 gives no reason in words; later versions do.
    Ended {
        compact_revision: i64,
    },
}

/// One stream of one side.
pub struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: mpsc::UnboundedReceiver<Result<WatchResponse, Status>>,
    /// By watcher.
    pub told: BTreeMap<i64, Vec<Told>>,
    /// Answers to requests, not yet asked for.
    replies: Vec<WatchResponse>,
    /// How the server ended the stream.
    pub ended: Option<(Code, String)>,
}

impl Stream {
    /// Opens a stream, with a token if there is one. It goes on until it is dropped.
    pub fn open(channel: &Channel, token: Option<&str>) -> Self {
        let (requests, mut to_send) = mpsc::channel(REQUESTS_MAX);
        let (received, answers) = mpsc::unbounded_channel();
        let mut client = WatchClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let outgoing = with_token(futures::stream::poll_fn(move |context| to_send.poll_recv(context)), token);
        tokio::spawn(async move {
            // A server may wait for the first request before it answers at all.
            let mut stream = match client.watch(outgoing).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => {
                    let _nobody_listens = received.send(Err(status));
                    return;
                }
            };
            while let Some(answer) = stream.next().await {
                if received.send(answer).is_err() {
                    return;
                }
            }
        });
        Self { requests, answers, told: BTreeMap::new(), replies: Vec::new(), ended: None }
    }

    pub async fn send(&mut self, request: RequestUnion) {
        // A stream that has ended takes nothing, and says so when it is drained.
        let _ended = self.requests.send(WatchRequest { request_union: Some(request) }).await;
    }

    /// Takes what has arrived.
    pub fn drain(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer);
        }
    }

    /// The next answer to a request.
    pub async fn reply(&mut self, names: &Names, patience: Duration) -> Option<WatchResponse> {
        let next = async {
            while self.replies.is_empty() {
                let answer = self.answers.recv().await?;
                self.take(answer);
            }
            let mut reply = self.replies.remove(0);
            names.header(&mut reply.header);
            Some(reply)
        };
        timeout(patience, next).await.ok().flatten()
    }

    /// Answers that nobody waited for.
    pub fn unasked(&self) -> &[WatchResponse] {
        &self.replies
    }

    fn take(&mut self, answer: Result<WatchResponse, Status>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => {
                self.ended = Some((status.code(), status.message().to_owned()));
                return;
            }
        };
        let is_overtaken = answer.canceled && answer.compact_revision != 0;
        if is_overtaken && !answer.created {
            let compact_revision = answer.compact_revision;
            self.told.entry(answer.watch_id).or_default().push(Told::Ended { compact_revision });
        } else if !answer.events.is_empty() {
            let events = answer.events.into_iter().map(Told::Event);
            self.told.entry(answer.watch_id).or_default().extend(events);
        } else if answer.created || answer.canceled || answer.watch_id == -1 {
            self.replies.push(answer);
        }
        // What is left is a notice that nothing has happened, at a time of the server's choice.
    }
}
