//! What browsers are told, and kept from: CORS, and the names under which this node may be asked.
//!
//! A page from anywhere may make its reader's browser resolve a name of the page's own to 127.0.0.1, and talk to a node
//! there (DNS rebinding, CVE-2018-5702). `--host-whitelist` names the hosts that requests may be for.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// Whom a rule lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    #[default]
    Everyone,
    Only(BTreeSet<String>),
}

impl Allowed {
    fn allows(&self, who: &str) -> bool {
        match self {
            Allowed::Everyone => true,
            Allowed::Only(names) => names.contains(who),
        }
    }
}

/// Who may ask over HTTP, and for which host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Origins of the pages that may ask: `https://console.example.com`.
    pub origins: Allowed,
    /// Host names, without ports.
    pub hosts: Allowed,
}

/// Puts the rules before everything that is given over HTTP.
pub fn guarded(http: Router, access: Access) -> Router {
    http.layer(middleware::from_fn_with_state(Arc::new(access), check))
}

async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let host = host(&request);
    if !access.hosts.allows(&host) {
        tracing::warn!(host, "a request for a host that is not in --host-whitelist was rejected");
        return (StatusCode::MISDIRECTED_REQUEST, unknown_host(&host)).into_response();
    }
    let origin = allowed_origin(&access.origins, request.headers());
    // A browser's question whether it may ask.
    let mut response =
        if request.method() == Method::OPTIONS { StatusCode::OK.into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let allowed = HeaderValue::from_static("accept, content-type, authorization");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

fn allowed_origin(origins: &Allowed, headers: &HeaderMap) -> Option<HeaderValue> {
    match origins {
        Allowed::Everyone => Some(HeaderValue::from_static("*")),
        Allowed::Only(_) => {
            let origin = headers.get(header::ORIGIN)?;
            origin.to_str().is_ok_and(|text| origins.allows(text)).then(|| origin.clone())
        }
    }
}

/// The host that a request is for, without its port.
fn host(request: &Request) -> String {
    let named = request.uri().authority().map(http::uri::Authority::as_str);
    let named = named.or_else(|| request.headers().get(header::HOST).and_then(|value| value.to_str().ok()));
    let named = named.unwrap_or_default();
    let host = match named.rsplit_once(':') {
        // A bare IPv6 address has colons of its own; with a port it has brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !bare_v6(named) => host,
        _ => named,
    };
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn bare_v6(named: &str) -> bool {
    named.parse::<std::net::Ipv6Addr>().is_ok()
}

fn unknown_host(host: &str) -> String {
    format!(
        "this member does not answer for the host {host:?}.\nAsk it by a name that it knows, or start it with \
         --host-whitelist={host} among the names.\nThe list keeps web pages from reaching it through their readers' \
         browsers (DNS rebinding, CVE-2018-5702).\n"
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    fn only(names: &[&str]) -> Allowed {
        Allowed::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    async fn ask(access: Access, method: Method, headers: &[(&str, &str)]) -> Response {
        let routes = guarded(Router::new().route("/x", get(|| async { "here" })), access);
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    fn cors(response: &Response) -> Option<&str> {
        response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn by_default_every_page_may_ask() {
        let response = ask(Access::default(), Method::GET, &[]).await;
        assert_eq!((response.status().as_u16(), cors(&response)), (200, Some("*")));
        let asked_first = ask(Access::default(), Method::OPTIONS, &[]).await;
        assert_eq!((asked_first.status().as_u16(), cors(&asked_first)), (200, Some("*")));
        let methods = asked_first.headers().get("access-control-allow-methods").unwrap();
        assert_eq!(methods, "POST, GET, OPTIONS, PUT, DELETE");
    }

    #[tokio::test]
    async fn a_list_of_origins_names_the_pages() {
        let access = Access { origins: only(&["https://a.b"]), ..Access::default() };
        let good = ask(access.clone(), Method::GET, &[("origin", "https://a.b")]).await;
        assert_eq!(cors(&good), Some("https://a.b"));
        for headers in [&[("origin", "https://c.d")][..], &[]] {
            let other = ask(access.clone(), Method::GET, headers).await;
            assert_eq!((other.status().as_u16(), cors(&other)), (200, None), "the browser keeps the answer to itself");
        }
    }

    #[tokio::test]
    async fn a_list_of_hosts_turns_rebound_names_away() {
        let access = Access { hosts: only(&["localhost", "::1"]), ..Access::default() };
        for host in ["localhost", "localhost:2379", "[::1]:2379", "::1"] {
            assert_eq!(ask(access.clone(), Method::GET, &[("host", host)]).await.status(), 200, "{host}");
        }
        for host in ["evil.example:2379", "127.0.0.1", ""] {
            assert_eq!(ask(access.clone(), Method::GET, &[("host", host)]).await.status(), 421, "{host}");
        }
    }
}
