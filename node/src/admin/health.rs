//! `/health`, `/livez`, `/readyz`: statuses and bodies as etcd has them, so that its probes and its tools understand.

use std::fmt::Write;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::checks::{Check, alarms_on};
use super::query::Query;
use crate::ops::Ops;

/// etcd's words.
const NO_LEADER: &str = "RAFT NO LEADER";

/// What one check gave.
struct Checked {
    check: Check,
    result: Result<(), String>,
}

/// etcd's classic probe: alarms, leader, and a read.
pub async fn classic(State(admin): State<Admin>, RawQuery(raw): RawQuery) -> Response {
    let query = Query::parse(raw.as_deref());
    match why_unhealthy(&admin.ops, &query).await {
        None => {
            admin.ops.state_metrics().health_successes.inc();
            classic_answer(StatusCode::OK, "true", "")
        }
        Some(reason) => {
            admin.ops.state_metrics().health_failures.inc();
            tracing::warn!(reason, "/health says no");
            classic_answer(StatusCode::SERVICE_UNAVAILABLE, "false", &reason)
        }
    }
}

/// What [`classic`] says of a node that has not started.
pub fn no_leader() -> Response {
    classic_answer(StatusCode::SERVICE_UNAVAILABLE, "false", NO_LEADER)
}

/// What [`ready`] says of a node that has not started.
pub fn not_started(why: &str) -> Response {
    let body = format!("[-]started failed: {why}\nreadyz check failed\n");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

fn classic_answer(code: StatusCode, health: &str, reason: &str) -> Response {
    let body = serde_json::json!({ "health": health, "reason": reason });
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body.to_string()).into_response()
}

async fn why_unhealthy(ops: &Ops, query: &Query) -> Option<String> {
    match alarms_on(ops) {
        Ok(alarms) => {
            if let Some(alarm) = alarms.iter().find(|alarm| !query.exclude.contains(**alarm)) {
                return Some(format!("ALARM {alarm}"));
            }
        }
        Err(error) => return Some(format!("RANGE ERROR:{error}")),
    }
    if query.serializable {
        return Check::SerializableRead.run(ops).await.err().map(|error| format!("RANGE ERROR:{error}"));
    }
    if ops.replica().leader_in_touch().is_none() {
        return Some(NO_LEADER.to_owned());
    }
    Check::LinearizableRead.run(ops).await.err().map(|error| format!("RANGE ERROR:{error}"))
}

pub async fn live(State(admin): State<Admin>, RawQuery(raw): RawQuery) -> Response {
    answer("livez", &Check::LIVE, &admin.ops, &Query::parse(raw.as_deref())).await
}

pub async fn ready(State(admin): State<Admin>, RawQuery(raw): RawQuery) -> Response {
    answer("readyz", &Check::READY, &admin.ops, &Query::parse(raw.as_deref())).await
}

pub async fn live_in_one(State(admin): State<Admin>, Path(name): Path<String>, RawQuery(raw): RawQuery) -> Response {
    answer_one("livez", &Check::LIVE, &name, &admin.ops, raw.as_deref()).await
}

pub async fn ready_in_one(State(admin): State<Admin>, Path(name): Path<String>, RawQuery(raw): RawQuery) -> Response {
    answer_one("readyz", &Check::READY, &name, &admin.ops, raw.as_deref()).await
}

async fn answer_one(probe: &str, checks: &[Check], name: &str, ops: &Ops, raw: Option<&str>) -> Response {
    match checks.iter().find(|check| check.name() == name) {
        Some(check) => answer(&format!("{probe}/{name}"), &[*check], ops, &Query::parse(raw)).await,
        None => {
            let known: Vec<&str> = checks.iter().map(|check| check.name()).collect();
            let text = format!("/{probe} has no check {name:?}: it has {}\n", known.join(", "));
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

async fn answer(probe: &str, checks: &[Check], ops: &Ops, query: &Query) -> Response {
    let mut checked = Vec::new();
    for check in checks {
        if !query.exclude.contains(check.name()) {
            checked.push(Checked { check: *check, result: check.run(ops).await });
        }
    }
    let is_well = checked.iter().all(|checked| checked.result.is_ok());
    let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = in_words(probe, &checked, query.verbose);
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

/// A word when all is well and nobody wants to know more, else a line for each check.
fn in_words(probe: &str, checked: &[Checked], verbose: bool) -> String {
    let is_well = checked.iter().all(|checked| checked.result.is_ok());
    if is_well && !verbose {
        return "ok\n".to_owned();
    }
    let mut text = String::new();
    for Checked { check, result } in checked {
        // Writing to a string cannot fail.
        let _infallible = match result {
            Ok(()) => writeln!(text, "[+]{} ok", check.name()),
            Err(reason) => writeln!(text, "[-]{} failed: {reason}", check.name()),
        };
    }
    text.push_str(&format!("{probe} check {}\n", if is_well { "passed" } else { "failed" }));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(check: Check, result: Result<(), &str>) -> Checked {
        Checked { check, result: result.map_err(str::to_owned) }
    }

    #[test]
    fn all_well_is_one_word() {
        assert_eq!(in_words("livez", &[checked(Check::SerializableRead, Ok(()))], false), "ok\n");
    }

    #[test]
    fn verbose_lists_each_check() {
        let all = [checked(Check::DataCorruption, Ok(())), checked(Check::SerializableRead, Ok(()))];
        let expected = "[+]data_corruption ok\n[+]serializable_read ok\nreadyz check passed\n";
        assert_eq!(in_words("readyz", &all, true), expected);
    }

    #[test]
    fn what_is_not_well_is_listed_unasked() {
        let all =
            [checked(Check::SerializableRead, Ok(())), checked(Check::DataCorruption, Err("alarm activated: CORRUPT"))];
        let expected =
            "[+]serializable_read ok\n[-]data_corruption failed: alarm activated: CORRUPT\nreadyz check failed\n";
        assert_eq!(in_words("readyz", &all, false), expected);
    }
}
