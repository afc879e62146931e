//! Users by the common name of their certificate: over gRPC, and not over JSON, whose connection may be anybody's.

use holdfast_client::{Access, Client, Options, PermittedKeys};

use crate::scene::{Scene, add_flag, connect, post, start};

pub async fn by_common_name() {
    let scene = Scene::new();
    let [root, ann, stranger] = ["root", "ann", "stranger"].map(|name| scene.authority.issue(name, &[]));
    let mut cluster = scene.lay_out(1, scene.tls_as(&root));
    cluster.add_flag(0, "--client-cert-auth");
    add_flag(&mut cluster, 0, "trusted-ca-file", &scene.authority.file());
    start(&mut cluster).await;
    let as_root = cluster.client();
    as_root.user_add("root", None).await.expect("user root");
    as_root.user_grant_role("root", "root").await.expect("role root");
    as_root.user_add("ann", None).await.expect("user ann");
    as_root.role_add("r").await.expect("role r");
    as_root.role_grant_permission("r", Access::Readwrite, PermittedKeys::prefix("p/")).await.expect("granted");
    as_root.user_grant_role("ann", "r").await.expect("granted");
    as_root.auth_enable().await.expect("enabled");
    as_root.put("secret", "1").await.expect("root's certificate is enough");

    let with = |pair| {
        let options = Options { tls: Some(scene.tls_as(pair)), ..Options::default() };
        Client::connect(cluster.endpoints(), options).expect("options")
    };
    let as_ann = with(&ann);
    as_ann.put("p/a", "1").await.expect("ann may");
    assert_eq!(as_ann.get("p/a").await.expect("ann may").kvs[0].value, "1");
    let denied = "etcdserver: permission denied";
    assert!(as_ann.get("secret").await.expect_err("not hers").message().contains(denied));
    assert!(as_ann.user_list().await.expect_err("not hers").message().contains(denied));
    let as_stranger = with(&stranger);
    assert!(as_stranger.get("p/a").await.expect_err("a good certificate of no user").message().contains(denied));

    let stream = connect(&cluster.endpoint(0), &scene.authority.file(), Some(&root), rustls::ALL_VERSIONS).await;
    let answer = post(stream, "/v3/kv/range", r#"{"key":"c2VjcmV0"}"#).await.expect("an answer");
    assert!(answer.contains("user name is empty") && !answer.contains("kvs"), "{answer}");
}
