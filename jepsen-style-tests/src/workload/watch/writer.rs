//! Changes for watchers to see: single ones, several keys at one revision, deletions of one key and of a range.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, TxnRequest, request_op};
use parking_lot::Mutex;

use super::{NAME, Record, Written};
use crate::history::Fate;
use crate::workload::wire::{bytes_of, key_of, operation, revision};
use crate::workload::{Answer, Client, ask};

/// Two folders, so that a watcher can watch one of them.
const FOLDERS: u64 = 2;
const KEYS: u64 = 3;

pub async fn run(mut client: Client, record: Arc<Mutex<Record>>) {
    while !client.stage().is_over() {
        let written = match client.below(10) {
            0..=5 => put(&mut client).await,
            6..=7 => put_several(&mut client).await,
            8 => delete(&mut client, one_key).await,
            _ => delete(&mut client, a_folder).await,
        };
        record.lock().written.extend(written);
        client.stage().breathe().await;
    }
}

fn any_key(client: &Client) -> String {
    format!("{NAME}/{}/{}", client.below(FOLDERS), client.below(KEYS))
}

fn ended<T>(answer: Answer<T>) -> (Option<T>, Fate) {
    match answer {
        Answer::Ok(answer) => (Some(answer), Fate::Ok),
        Answer::Failed(_) => (None, Fate::Failed),
        Answer::Unknown(_) | Answer::Strange(_) => (None, Fate::Unknown),
    }
}

fn put_request(key: &str, value: u64) -> PutRequest {
    PutRequest { key: Bytes::from(key.to_owned()), value: bytes_of(value), ..PutRequest::default() }
}

async fn put(client: &mut Client) -> Vec<Written> {
    let (key, value) = (any_key(client), client.unique());
    let answer = ask(KvClient::new(client.anywhere()).put(put_request(&key, value))).await;
    let (answer, fate) = ended(answer);
    let revision = answer.map(|answer| revision(answer.header.as_ref()));
    vec![Written { key, value: Some(value), revision, fate }]
}

async fn put_several(client: &mut Client) -> Vec<Written> {
    let mut keys: Vec<String> = (0..3).map(|_| any_key(client)).collect();
    keys.sort();
    keys.dedup();
    let puts: Vec<(String, u64)> = keys.into_iter().map(|key| (key, client.unique())).collect();
    let operations =
        puts.iter().map(|(key, value)| operation(request_op::Request::RequestPut(put_request(key, *value))));
    let txn = TxnRequest { compare: Vec::new(), success: operations.collect(), failure: Vec::new() };
    let (answer, fate) = ended(ask(KvClient::new(client.anywhere()).txn(txn)).await);
    let revision = answer.map(|answer| revision(answer.header.as_ref()));
    puts.into_iter().map(|(key, value)| Written { key, value: Some(value), revision, fate }).collect()
}

fn one_key(client: &Client) -> DeleteRangeRequest {
    DeleteRangeRequest { key: Bytes::from(any_key(client)), prev_kv: true, ..DeleteRangeRequest::default() }
}

fn a_folder(client: &Client) -> DeleteRangeRequest {
    let folder = format!("{NAME}/{}", client.below(FOLDERS));
    let range_end = Bytes::from(format!("{folder}0"));
    DeleteRangeRequest { key: Bytes::from(format!("{folder}/")), range_end, prev_kv: true }
}

/// What was deleted is known only by the answer.
async fn delete(client: &mut Client, what: fn(&Client) -> DeleteRangeRequest) -> Vec<Written> {
    let request = what(client);
    let (answer, fate) = ended(ask(KvClient::new(client.anywhere()).delete_range(request)).await);
    let Some(answer) = answer else { return Vec::new() };
    let revision = Some(revision(answer.header.as_ref()));
    answer.prev_kvs.iter().map(|kv| Written { key: key_of(kv), value: None, revision, fate }).collect()
}
