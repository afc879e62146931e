//! Members that connect to one another.

use holdfast_client::Tls;
use holdfast_jepsen::world::process::{Cluster, Load, Shape};

use crate::scene::{Scene, add_flag, ask, connect, hosts, start};

/// Gives every node a certificate for its peers, and the authority's word for the others'.
fn prove_peers(scene: &Scene, cluster: &mut Cluster) {
    for node in 0..cluster.len() {
        let own = scene.authority.issue(&format!("n{}", node + 1), &hosts(cluster, node));
        add_flag(cluster, node, "peer-cert-file", &own.certificate);
        add_flag(cluster, node, "peer-key-file", &own.key);
        add_flag(cluster, node, "peer-trusted-ca-file", &scene.authority.file());
        cluster.add_flag(node, "--peer-client-cert-auth");
    }
}

pub async fn leader_killed() {
    let scene = Scene::new();
    let mut cluster = Cluster::lay_out(&Shape::holdfast(3).https_for_peers());
    prove_peers(&scene, &mut cluster);
    start(&mut cluster).await;
    let load = Load::start(&cluster, "w", 3, 16);
    load.more(50).await;
    let leader = cluster.wait_leader(None).await;
    load.outage(|| cluster.kill9(leader)).await;
    load.more(50).await;
    cluster.restart(leader).await;
    load.more(50).await;
    load.stop().await;
    cluster.wait_equal_hashes().await;
}

/// The certificates that members serve with may not connect: only those for connecting may.
pub async fn shown_to_others() {
    let scene = Scene::new();
    let mut cluster = Cluster::lay_out(&Shape::holdfast(3).https_for_peers());
    prove_peers(&scene, &mut cluster);
    for node in 0..cluster.len() {
        let shown = scene.authority.issue("caller", &[]);
        add_flag(&mut cluster, node, "peer-client-cert-file", &shown.certificate);
        add_flag(&mut cluster, node, "peer-client-key-file", &shown.key);
        add_flag(&mut cluster, node, "client-cert-file", &shown.certificate);
        add_flag(&mut cluster, node, "client-key-file", &shown.key);
        cluster.add_flag(node, "--peer-cert-allowed-cn=caller");
    }
    start(&mut cluster).await;
    cluster.client().put("key", "value").await.expect("a write");
    cluster.wait_equal_hashes().await;
}

pub async fn only_allowed_names() {
    let scene = Scene::new();
    let mut cluster = Cluster::lay_out(&Shape::holdfast(1).https_for_peers());
    prove_peers(&scene, &mut cluster);
    cluster.add_flag(0, "--peer-cert-allowed-cn=n1,n2");
    start(&mut cluster).await;

    let roots = scene.authority.file();
    let url = cluster.peer_url(0);
    let [allowed, other] = ["n2", "n9"].map(|name| scene.authority.issue(name, &[]));
    let version = async |pair| ask(connect(&url, &roots, pair, rustls::ALL_VERSIONS).await, "/version").await;
    let answer = version(Some(&allowed)).await.expect("an allowed name is let in");
    assert!(answer.contains("etcdserver"), "{answer}");
    let refused = version(Some(&other)).await.expect_err("another name is refused");
    assert!(refused.to_string().contains("alert"), "{refused}");
    cluster.wait_said(0, "may connect").await;
    version(None).await.expect_err("without a certificate nobody is let in");
}

pub async fn self_signed() {
    let shape = Shape::holdfast(3).https_for_clients(Tls::new().insecure_skip_verify()).https_for_peers();
    let mut cluster = Cluster::start(&shape.flag("--auto-tls", true).flag("--peer-auto-tls", true)).await;
    cluster.client().put("key", "value").await.expect("a write");
    let leader = cluster.wait_leader(None).await;
    let other = (leader + 1) % 3;
    cluster.kill9(leader);
    cluster.wait_leader(Some(leader)).await;
    cluster.client().put("key", "again").await.expect("a write");

    // What the node wrote down is what it shows: a client can be told to believe it.
    let shown = cluster.data_dir(other).join("fixtures/client/cert.pem");
    let stream = connect(&cluster.endpoint(other), &shown, None, rustls::ALL_VERSIONS).await;
    let health = ask(stream, "/health").await.expect("an answer");
    assert!(health.contains(r#""health":"true""#), "{health}");
}
