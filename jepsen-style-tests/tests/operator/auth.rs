//! Users and roles in a cluster of three: a token is good on every member, over the loss of a leader, and for nothing
//! more than its user may have; and the audit log knows who was there, but no secret.

use std::time::Duration;

use futures::StreamExt;
use holdfast_client::{Access, Client, Error, Login, Options, PermittedKeys};
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape, until};
use holdfast_proto::etcdserverpb::auth_client::AuthClient;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::{AlarmType, AuthenticateRequest, PutRequest, RangeRequest};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

const ROOTS_PASSWORD: &str = "roots-own-secret";
pub const ANNS_PASSWORD: &str = "anns-own-secret";
const ANNS_NEXT_PASSWORD: &str = "anns-other-secret";

fn login(cluster: &Cluster, user: &str, password: &str) -> Client {
    let login = Some(Login { user: user.to_owned(), password: password.to_owned() });
    Client::connect(cluster.endpoints(), Options { login, ..Options::default() }).expect("options")
}

async fn channel(cluster: &Cluster, node: usize) -> Channel {
    Endpoint::from_shared(cluster.endpoint(node)).expect("a URL").connect().await.expect("the node serves")
}

pub async fn token(cluster: &Cluster, node: usize, user: &str, password: &str) -> Result<String, Status> {
    let request = AuthenticateRequest { name: user.to_owned(), password: password.to_owned() };
    Ok(AuthClient::new(channel(cluster, node).await).authenticate(request).await?.into_inner().token)
}

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token.parse().expect("a token is ASCII"));
    }
    request
}

pub async fn get(cluster: &Cluster, node: usize, key: &'static str, token: Option<&str>) -> Result<i64, Status> {
    let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
    let answer = KvClient::new(channel(cluster, node).await).range(with_token(request, token)).await?;
    Ok(answer.into_inner().count)
}

async fn put(cluster: &Cluster, node: usize, key: &'static str, token: Option<&str>) -> Result<(), Status> {
    let request = PutRequest { key: key.into(), value: "1".into(), ..PutRequest::default() };
    KvClient::new(channel(cluster, node).await).put(with_token(request, token)).await.map(drop)
}

pub fn said(result: Result<impl std::fmt::Debug, Status>) -> String {
    result.expect_err("it is refused").message().to_owned()
}

pub async fn set_up(cluster: &Cluster) -> Client {
    let nobody = cluster.client();
    nobody.put("secret", "1").await.expect("put");
    nobody.user_add("root", Some(ROOTS_PASSWORD)).await.expect("user root");
    nobody.user_grant_role("root", "root").await.expect("role root");
    nobody.user_add("ann", Some(ANNS_PASSWORD)).await.expect("user ann");
    nobody.user_add("cert", None).await.expect("user cert");
    nobody.role_add("r").await.expect("role r");
    nobody.role_grant_permission("r", Access::Readwrite, PermittedKeys::prefix("p/")).await.expect("granted");
    nobody.role_grant_permission("r", Access::Read, PermittedKeys::key("one")).await.expect("granted");
    nobody.user_grant_role("ann", "r").await.expect("granted");
    nobody.auth_enable().await.expect("enabled");
    login(cluster, "root", ROOTS_PASSWORD)
}

/// The token's permissions, asked of each member.
pub async fn check_everywhere(cluster: &Cluster, token: &str) {
    for node in 0..cluster.len() {
        put(cluster, node, "p/a", Some(token)).await.expect("ann may");
        assert_eq!(get(cluster, node, "p/a", Some(token)).await.expect("ann may"), 1, "node {node}");
        assert_eq!(said(get(cluster, node, "secret", Some(token)).await), "etcdserver: permission denied");
        assert_eq!(said(put(cluster, node, "secret", Some(token)).await), "etcdserver: permission denied");
        assert_eq!(said(get(cluster, node, "p/a", None).await), "etcdserver: user name is empty");
        assert_eq!(said(get(cluster, node, "p/a", Some("a.b")).await), "etcdserver: invalid auth token");
    }
}

pub async fn in_a_cluster() {
    let mut cluster = Cluster::start(&Shape::holdfast(3).flag("--audit-log-path", "stderr")).await;
    let root = set_up(&cluster).await;
    for (user, password) in [("ann", "wrong"), ("stranger", "any"), ("cert", "any"), ("cert", "")] {
        let refused = said(token(&cluster, 0, user, password).await);
        assert_eq!(refused, "etcdserver: authentication failed, invalid user ID or password", "{user}");
    }
    let anns = token(&cluster, 0, "ann", ANNS_PASSWORD).await.expect("her password");
    check_everywhere(&cluster, &anns).await;

    let leader = cluster.wait_leader(None).await;
    cluster.kill9(leader);
    cluster.wait_leader(Some(leader)).await;
    cluster.restart(leader).await;
    check_everywhere(&cluster, &anns).await;

    watches(&cluster, &root).await;

    root.user_change_password("ann", ANNS_NEXT_PASSWORD).await.expect("root may");
    for node in 0..cluster.len() {
        is_good_no_more(&cluster, node, &anns).await;
    }
    let late = login(&cluster, "ann", ANNS_PASSWORD).get("p/a").await.expect_err("the old password");
    assert!(late.message().contains("authentication failed"), "{late}");
    let ann = login(&cluster, "ann", ANNS_NEXT_PASSWORD);
    ann.get("p/a").await.expect("the new password");
    root.user_change_password("ann", ANNS_NEXT_PASSWORD).await.expect("root may");
    ann.put("p/a", "2").await.expect("the client fetches another token by itself");

    alarms(&root, &ann).await;
    audit(&cluster, &anns).await;
}

/// A member that hears of the new password while it answers says, as etcd's, that the token is of an older state; the
/// next time it does not know the token.
async fn is_good_no_more(cluster: &Cluster, node: usize, token: &str) {
    until(PATIENCE, "the token's end", || async {
        match said(get(cluster, node, "p/a", Some(token)).await).as_str() {
            "etcdserver: invalid auth token" => Ok(()),
            "etcdserver: revision of auth store is old" => Err(format!("node {node} has just heard of it")),
            other => panic!("node {node}: {other}"),
        }
    })
    .await;
}

/// Any user reads them, as `etcdctl endpoint health` does; root changes them.
async fn alarms(root: &Client, ann: &Client) {
    assert!(ann.alarms().await.expect("a user may read").alarms.is_empty());
    let refused = ann.alarm_raise(0, AlarmType::Nospace).await.expect_err("that is root's");
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    root.alarm_raise(0, AlarmType::Nospace).await.expect("root may");
    assert_eq!(ann.alarms().await.expect("a user may read").alarms.len(), 1);
    ann.alarm_disarm(0, AlarmType::Nospace).await.expect_err("that is root's");
    root.alarm_disarm(0, AlarmType::Nospace).await.expect("root may");
}

/// A watch on more than one may read is refused (a key is not all keys behind it); one that was permitted ends when the
/// permission does.
async fn watches(cluster: &Cluster, root: &Client) {
    let ann = login(cluster, "ann", ANNS_PASSWORD);
    let refused = ann.watch("one").onward().await.expect_err("one key is not all behind it");
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    let mut watch = ann.watch("p/").prefix().await.expect("ann may");
    root.put("p/b", "1").await.expect("root may");
    watch.next().await.expect("goes on").expect("an event");
    root.role_revoke_permission("r", PermittedKeys::prefix("p/")).await.expect("root may");
    root.put("p/b", "not for ann").await.expect("root may");
    match tokio::time::timeout(Duration::from_secs(10), watch.next()).await.expect("the watch is told") {
        Some(Err(Error::WatchCanceled { reason })) => assert!(reason.contains("permission denied"), "{reason}"),
        other => panic!("ann sees {other:?}"),
    }
    root.role_grant_permission("r", Access::Readwrite, PermittedKeys::prefix("p/")).await.expect("root may");
}

async fn audit(cluster: &Cluster, token: &str) {
    until(PATIENCE, "lines of the audit log", || async {
        let lines: String = (0..cluster.len()).map(|node| cluster.said(node)).collect();
        let wanted = [
            "etcdserverpb.Auth/UserChangePassword",
            "user \\\"ann\\\"",
            "\"user\":\"root\"",
            "etcdserver: permission denied",
            "etcdserver: invalid auth token",
            "etcdserver: authentication failed, invalid user ID or password",
        ];
        match wanted.iter().find(|words| !lines.contains(**words)) {
            Some(missing) => Err(format!("nobody said {missing}")),
            None => Ok(()),
        }
    })
    .await;
    for node in 0..cluster.len() {
        let lines = cluster.said(node);
        for secret in [ROOTS_PASSWORD, ANNS_PASSWORD, ANNS_NEXT_PASSWORD, token, "$2a$", "not for ann"] {
            assert!(!lines.contains(secret), "node {node} said {secret}");
        }
    }
}
