//! One call, with a limit, and what its failure proves.

use std::future::Future;
use std::time::Duration;

use holdfast_client::retry::{Verdict, judge};
use holdfast_node::rt;
use tonic::{Response, Status};

/// How long a client waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    Ok(T),
    /// It certainly did not happen, and will not.
    Failed(String),
    /// It may have happened, may happen later, or never.
    Unknown(String),
    /// No server may answer this.
    Strange(String),
}

impl<T> Answer<T> {
    pub fn map<U>(self, read: impl FnOnce(T) -> U) -> Answer<U> {
        self.and_then(|answer| Answer::Ok(read(answer)))
    }

    pub fn and_then<U>(self, read: impl FnOnce(T) -> Answer<U>) -> Answer<U> {
        match self {
            Self::Ok(answer) => read(answer),
            Self::Failed(why) => Answer::Failed(why),
            Self::Unknown(why) => Answer::Unknown(why),
            Self::Strange(what) => Answer::Strange(what),
        }
    }

    pub fn ok(self) -> Option<T> {
        match self {
            Self::Ok(answer) => Some(answer),
            Self::Failed(_) | Self::Unknown(_) | Self::Strange(_) => None,
        }
    }
}

/// Waits for the call's answer for as long as [`PATIENCE`].
pub async fn ask<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
    ask_within(PATIENCE, call).await
}

pub async fn ask_within<T>(limit: Duration, call: impl Future<Output = Result<Response<T>, Status>>) -> Answer<T> {
    match rt::timeout(limit, call).await {
        Ok(Ok(response)) => Answer::Ok(response.into_inner()),
        Ok(Err(status)) => of_failure(&status),
        Err(_) => Answer::Unknown(format!("no answer within {limit:?}")),
    }
}

pub fn of_failure<T>(status: &Status) -> Answer<T> {
    let why = format!("{:?}: {}", status.code(), status.message());
    match judge(status) {
        Verdict::Answered | Verdict::NotExecuted => Answer::Failed(why),
        Verdict::Uncertain if never_connected(status) => Answer::Failed(why),
        Verdict::Uncertain => Answer::Unknown(why),
    }
}

/// The system refused the connection, so that nothing was sent on it.
fn never_connected(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn fate(code: Code, text: &str) -> &'static str {
        match of_failure::<()>(&Status::new(code, text)) {
            Answer::Ok(()) => "ok",
            Answer::Failed(_) => "failed",
            Answer::Unknown(_) => "unknown",
            Answer::Strange(_) => "strange",
        }
    }

    #[test]
    fn only_what_certainly_did_not_happen_has_failed() {
        assert_eq!(fate(Code::FailedPrecondition, "holdfast: the guard does not hold"), "failed");
        assert_eq!(fate(Code::Unavailable, "etcdserver: no leader"), "failed");
        assert_eq!(fate(Code::Unavailable, "etcdserver: leader changed"), "unknown");
        assert_eq!(
            fate(Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost"),
            "unknown"
        );
        assert_eq!(fate(Code::Unavailable, "transport error"), "unknown");
        assert_eq!(fate(Code::DeadlineExceeded, "etcdserver: request timed out"), "unknown");
        assert_eq!(fate(Code::Unknown, "h2 protocol error"), "unknown");
    }
}
