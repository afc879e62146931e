//! Answers, as the text of a script.

use std::fmt::Write;

use holdfast_proto::etcdserverpb::response_op::Response;
use holdfast_proto::etcdserverpb::{
    AlarmMember, DeleteRangeResponse, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
};
use holdfast_proto::log::outcome::Result as Answer;
use holdfast_proto::log::{Outcome, refusal};
use holdfast_proto::mvccpb::KeyValue;

use crate::auth;
use crate::mvcc::{Event, EventKind};
use crate::storage::View;

/// One answer to a line or more, without indentation at the first.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome.result.as_ref().unwrap() {
        Answer::Refusal(refused) => {
            let reason = refusal::Reason::try_from(refused.reason).unwrap();
            format!("refused {}: {}\n", reason.as_str_name(), refused.detail)
        }
        Answer::Put(response) => put(response, ""),
        Answer::DeleteRange(response) => delete(response, ""),
        Answer::Txn(response) => txn(response, ""),
        Answer::Compact(response) => format!("{}\n", header(&response.header)),
        Answer::LeaseGrant(response) => {
            format!("lease {} ttl {}, {}\n", response.id, response.ttl, header(&response.header))
        }
        Answer::LeaseRevoke(response) => format!("{}\n", header(&response.header)),
        Answer::Alarm(response) => alarms(&response.alarms),
        Answer::AuthChange(changed) => format!("auth rev {}\n", changed.auth_revision),
        Answer::LeaseExpire(response) => format!("expired {:?}\n", response.lease_ids),
    }
}

pub fn put(response: &PutResponse, indent: &str) -> String {
    let mut text = format!("{}\n", header(&response.header));
    if let Some(kv) = &response.prev_kv {
        writeln!(text, "{indent}  was {}", key_value(kv)).unwrap();
    }
    text
}

pub fn delete(response: &DeleteRangeResponse, indent: &str) -> String {
    let mut text = format!("{}, deleted {}\n", header(&response.header), response.deleted);
    for kv in &response.prev_kvs {
        writeln!(text, "{indent}  was {}", key_value(kv)).unwrap();
    }
    text
}

pub fn range(response: &RangeResponse, indent: &str) -> String {
    let more = if response.more { ", more" } else { "" };
    let mut text = format!("{}, count {}{more}\n", header(&response.header), response.count);
    for kv in &response.kvs {
        writeln!(text, "{indent}  {}", key_value(kv)).unwrap();
    }
    text
}

pub fn txn(response: &TxnResponse, indent: &str) -> String {
    let branch = if response.succeeded { "succeeded" } else { "failed" };
    let mut text = format!("{}, {branch}\n", header(&response.header));
    let deeper = format!("{indent}  ");
    for op in &response.responses {
        let (name, answer) = match op.response.as_ref().unwrap() {
            Response::ResponseRange(response) => ("get", range(response, &deeper)),
            Response::ResponsePut(response) => ("put", put(response, &deeper)),
            Response::ResponseDeleteRange(response) => ("del", delete(response, &deeper)),
            Response::ResponseTxn(response) => ("txn", txn(response, &deeper)),
        };
        write!(text, "{deeper}{name}: {answer}").unwrap();
    }
    text
}

/// Users, roles, and whether they matter.
pub fn auth(view: &dyn View) -> String {
    let state = auth::AuthState::load(view).unwrap();
    let mut text = format!("{}, auth rev {}\n", if state.is_enabled { "on" } else { "off" }, state.revision);
    for user in auth::users(view).unwrap() {
        let (name, roles) = (user.fields.name.escape_ascii(), user.fields.roles.join(" "));
        writeln!(text, "  user {name} (since {}): {roles}", user.credential_revision).unwrap();
    }
    for role in auth::roles(view).unwrap() {
        writeln!(text, "  role {}", role.name.escape_ascii()).unwrap();
        for one in role.key_permission {
            let kind = one.perm_type().as_str_name();
            writeln!(text, "    {kind} [{}, {})", one.key.escape_ascii(), one.range_end.escape_ascii()).unwrap();
        }
    }
    text
}

pub fn event(event: &Event) -> String {
    let what = match event.kind {
        EventKind::Put => format!("put {}", key_value(&event.to_key_value())),
        EventKind::Delete => {
            assert_eq!((event.create_revision.0, event.version, event.lease), (0, 0, None));
            format!("del {}", event.key.escape_ascii())
        }
    };
    let prev = event.prev.map_or(String::new(), |prev| format!(", replaces {prev}"));
    format!("  @{} {what}{prev}\n", event.rev)
}

pub fn alarms(alarms: &[AlarmMember]) -> String {
    let mut text = format!("{} alarms\n", alarms.len());
    for alarm in alarms {
        writeln!(text, "  {} on member {}", alarm.alarm().as_str_name(), alarm.member_id).unwrap();
    }
    text
}

pub fn key_value(kv: &KeyValue) -> String {
    let KeyValue { create_revision, mod_revision, version, .. } = kv;
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease {}", kv.lease) };
    let (key, value) = (kv.key.escape_ascii(), kv.value.escape_ascii());
    format!("{key}={value} (create {create_revision} mod {mod_revision} version {version}{lease})")
}

fn header(header: &Option<ResponseHeader>) -> String {
    match header.as_ref().unwrap() {
        ResponseHeader { revision: 0, .. } => "no rev".to_owned(),
        ResponseHeader { revision, .. } => format!("rev {revision}"),
    }
}
