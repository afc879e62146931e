//! Locks and elections while authentication is on: whoever may write its key and read the queue may stand in it, and
//! nobody else.

use holdfast_client::proto::etcdserverpb::AuthenticateRequest;
use holdfast_client::proto::etcdserverpb::auth_client::AuthClient;
use holdfast_client::proto::v3electionpb::{CampaignRequest, LeaderRequest};
use holdfast_client::proto::v3lockpb::{LockRequest, LockResponse};
use holdfast_client::{Access, Client, Login, Options, PermittedKeys};
use holdfast_jepsen::world::process::{Cluster, PATIENCE, Shape};
use tonic::{Code, Request, Status};

use crate::stubs::{Stubs, code_through_recipe, is_holdfast, queue_of};

const PASSWORD: &str = "a-password";
const EVES_LEASE: i64 = 7;

/// One user's way to the node.
#[derive(Clone)]
struct User {
    stubs: Stubs,
    token: String,
}

impl User {
    async fn new(cluster: &Cluster, name: &str) -> Self {
        let stubs = Stubs::of(cluster, 0).await;
        let asked = AuthenticateRequest { name: name.to_owned(), password: PASSWORD.to_owned() };
        let answer = AuthClient::new(stubs.channel()).authenticate(asked).await.expect("the password is right");
        Self { stubs, token: answer.into_inner().token }
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("token", self.token.parse().expect("a token is ASCII"));
        request
    }

    async fn lock(&self, name: &'static str, lease: i64) -> Result<LockResponse, Status> {
        let request = self.asks(LockRequest { name: name.into(), lease });
        self.stubs.lock().lock(request).await.map(tonic::Response::into_inner)
    }

    async fn campaign(&self, name: &'static str) -> Result<(), Status> {
        let request = self.asks(CampaignRequest { name: name.into(), lease: 0, value: "me".into() });
        self.stubs.election().campaign(request).await.map(drop)
    }
}

/// Root's client, after users, roles and authentication have been set up.
async fn with_users(cluster: &Cluster) -> Client {
    let nobody = cluster.client();
    nobody.user_add("root", Some(PASSWORD)).await.expect("user root");
    nobody.user_grant_role("root", "root").await.expect("role root");
    let jobs = || PermittedKeys::prefix("jobs/");
    let place = PermittedKeys::key(format!("jobs/{EVES_LEASE:x}"));
    let permitted = [
        ("ann", Access::Readwrite, jobs()),
        ("bob", Access::Write, jobs()),
        ("cee", Access::Readwrite, jobs()),
        ("eve", Access::Readwrite, place),
    ];
    for (name, access, keys) in permitted {
        nobody.user_add(name, Some(PASSWORD)).await.expect("a user");
        nobody.role_add(name).await.expect("a role of the same name");
        nobody.role_grant_permission(name, access, keys).await.expect("granted");
        nobody.user_grant_role(name, name).await.expect("granted");
    }
    nobody.auth_enable().await.expect("enabled");
    let login = Some(Login { user: "root".to_owned(), password: PASSWORD.to_owned() });
    Client::connect(cluster.endpoints(), Options { login, ..Options::default() }).expect("options")
}

pub async fn locks() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let root = with_users(&cluster).await;
    let denied = |refused: Status| {
        let code = code_through_recipe(&cluster, Code::PermissionDenied);
        assert_eq!((refused.code(), refused.message()), (code, "etcdserver: permission denied"));
    };
    let nobody = Stubs::of(&cluster, 0).await.acquire("jobs", 0).await.expect_err("who is it?");
    assert_eq!(nobody.message(), "etcdserver: user name is empty");
    let (ann, bob, cee) =
        (User::new(&cluster, "ann").await, User::new(&cluster, "bob").await, User::new(&cluster, "cee").await);
    denied(ann.lock("other", 0).await.expect_err("she may not write there"));
    denied(bob.lock("jobs", 0).await.expect_err("he may not read the queue"));
    root.lease_grant_as(EVES_LEASE, 600).await.expect("a lease");
    denied(User::new(&cluster, "eve").await.lock("jobs", EVES_LEASE).await.expect_err("she may read her place alone"));
    queue_of(&root, "jobs", 0).await;

    let held = ann.lock("jobs", 0).await.expect("she may");
    let waiter = cee.clone();
    let waiting = tokio::spawn(async move { waiter.lock("jobs", 0).await });
    queue_of(&root, "jobs", 2).await;
    root.role_revoke_permission("cee", PermittedKeys::prefix("jobs/")).await.expect("root may");
    root.delete(held.key).await.expect("root may");
    let outcome = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("no panic");
    denied(outcome.expect_err("the permission has gone while it waited"));
    if is_holdfast(&cluster) {
        // etcd leaves its place to the lease, as the caller may not delete it any more.
        queue_of(&root, "jobs", 0).await;
        let leases = root.leases().await.expect("root may").leases;
        assert_eq!(leases.len(), 2, "eve's and ann's, and none of those that were made for nothing: {leases:?}");
    }
}

pub async fn elections() {
    let cluster = Cluster::start(&Shape::from_env(1)).await;
    let root = with_users(&cluster).await;
    let (ann, bob) = (User::new(&cluster, "ann").await, User::new(&cluster, "bob").await);
    let code = code_through_recipe(&cluster, Code::PermissionDenied);
    let refused = bob.campaign("jobs").await.expect_err("he may not read the queue");
    assert_eq!((refused.code(), refused.message()), (code, "etcdserver: permission denied"));
    ann.campaign("jobs").await.expect("she may");
    let observe = |user: &User| user.asks(LeaderRequest { name: "jobs".into() });
    let mut seen = ann.stubs.election().observe(observe(&ann)).await.expect("she may").into_inner();
    let leader = seen.message().await.expect("a leader").expect("a leader").kv.expect("a key");
    assert_eq!(leader.value, "me");
    if is_holdfast(&cluster) {
        // etcd ends the stream without a word.
        let refused = match bob.stubs.election().observe(observe(&bob)).await {
            Ok(stream) => stream.into_inner().message().await.expect_err("he may not read the queue"),
            Err(refused) => refused,
        };
        assert_eq!(refused.message(), "etcdserver: permission denied");
        // What was permitted when the stream began is asked again; etcd lets it go on.
        root.role_revoke_permission("ann", PermittedKeys::prefix("jobs/")).await.expect("root may");
        root.put(leader.key, "not for ann").await.expect("root may");
        let next = tokio::time::timeout(PATIENCE, seen.message()).await.expect("in time");
        assert_eq!(next.expect_err("she may not any more").message(), "etcdserver: permission denied");
    }
}
