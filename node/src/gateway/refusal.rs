//! Why a request over HTTP was not answered as asked, and how that is said.
//!
//! The body has what etcd up to 3.5 says (`error`, `code`, `message`), which holds all that etcd from 3.6 on says: a
//! client written for either finds what it looks for. On a stream the same is said in etcd's words for streams.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;
use tonic::{Code, Status};

use super::json::Malformed;

/// A gRPC code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn http_status(&self) -> StatusCode {
        http_status(self.code)
    }

    /// The answer to a single request.
    pub fn into_answer(self) -> Response {
        // Written by hand for the order, which is etcd's.
        let message = json!(self.message);
        let body = format!(r#"{{"error":{message},"code":{},"message":{message}}}"#, self.code as i32);
        (self.http_status(), [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }

    /// The last line of a stream.
    pub fn into_line(self) -> String {
        let status = self.http_status();
        let (message, http_status) = (json!(self.message), json!(status.canonical_reason().unwrap_or_default()));
        let code = self.code as i32;
        format!(
            "{{\"error\":{{\"grpc_code\":{code},\"http_code\":{},\"message\":{message},\"http_status\":{http_status},\
             \"code\":{code}}}}}\n",
            status.as_u16(),
        )
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::new(status.code(), status.message())
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::new(Code::InvalidArgument, malformed.to_string())
    }
}

/// grpc-gateway's table, which etcd uses.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_etcds_gateway() {
        let http = |code: i32| http_status(Code::from_i32(code)).as_u16();
        let all: Vec<u16> = (0..=16).map(http).collect();
        assert_eq!(all, [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]);
    }

    #[test]
    fn a_stream_ends_in_etcds_words() {
        let line = Refusal::new(Code::Unavailable, "etcdserver: no \"leader\"").into_line();
        assert_eq!(
            line,
            "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no \\\"leader\\\"\",\
             \"http_status\":\"Service Unavailable\",\"code\":14}}\n"
        );
    }
}
