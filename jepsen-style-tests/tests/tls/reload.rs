//! Certificates that change while the node runs.

use std::path::PathBuf;

use holdfast_jepsen::world::process::{Cluster, Load, Shape};

use crate::authority::{Authority, Pair, put_in_place};
use crate::scene::{Scene, add_flag, hosts, metric, put_as, start, wait_said_times};

const REPLACED: &str = "certificates were replaced";
const PORTS: usize = 2;

/// The files that one node was told of; what is in them changes.
struct Places {
    certificate: PathBuf,
    key: PathBuf,
}

impl Places {
    fn hold(&self, pair: &Pair) {
        // As with most who renew certificates, one after the other.
        let text = |file: &PathBuf| std::fs::read_to_string(file).expect("a file can be read");
        put_in_place(&self.certificate, &text(&pair.certificate));
        put_in_place(&self.key, &text(&pair.key));
    }
}

/// Three members with the same bundle of authorities for clients and for one another.
struct Stage {
    scene: Scene,
    cluster: Cluster,
    nodes: Vec<Places>,
    client: Places,
    bundle: PathBuf,
    /// How often each port has been replaced.
    replaced: usize,
}

impl Stage {
    async fn set() -> Self {
        let scene = Scene::new();
        let place = |name: &str| Places {
            certificate: scene.path(&format!("{name}.pem")),
            key: scene.path(&format!("{name}-key.pem")),
        };
        let (client, bundle) = (place("client"), scene.path("bundle.pem"));
        std::fs::write(&bundle, scene.authority.pem()).expect("a file can be written");
        client.hold(&scene.authority.issue("client", &[]));
        let tls = holdfast_client::Tls::new().ca_file(&bundle).identity_files(&client.certificate, &client.key);
        let mut cluster = Cluster::lay_out(&Shape::holdfast(3).https_for_clients(tls).https_for_peers());
        let nodes: Vec<Places> = (0..3).map(|node| place(&format!("n{node}"))).collect();
        for (node, own) in nodes.iter().enumerate() {
            own.hold(&scene.authority.issue("node", &hosts(&cluster, node)));
            for prefix in ["", "peer-"] {
                add_flag(&mut cluster, node, &format!("{prefix}cert-file"), &own.certificate);
                add_flag(&mut cluster, node, &format!("{prefix}key-file"), &own.key);
                add_flag(&mut cluster, node, &format!("{prefix}trusted-ca-file"), &bundle);
            }
        }
        start(&mut cluster).await;
        Self { scene, cluster, nodes, client, bundle, replaced: 0 }
    }

    async fn wait_replaced(&mut self) {
        self.replaced += PORTS;
        for node in 0..self.cluster.len() {
            wait_said_times(&self.cluster, node, REPLACED, self.replaced).await;
        }
    }
}

pub async fn authorities_under_load() {
    let mut stage = Stage::set().await;
    let successor = Authority::new(stage.scene.folder.path(), "successor");
    let old_client = stage.scene.authority.issue("old-client", &[]);
    let load = Load::start(&stage.cluster, "w", 4, 16);
    load.more(50).await;

    // Both are believed, then everybody shows the new, then the old is believed no more.
    put_in_place(&stage.bundle, &(stage.scene.authority.pem() + &successor.pem()));
    stage.wait_replaced().await;
    load.more(50).await;
    for (node, own) in stage.nodes.iter().enumerate() {
        own.hold(&successor.issue("node", &hosts(&stage.cluster, node)));
    }
    stage.client.hold(&successor.issue("client", &[]));
    stage.wait_replaced().await;
    load.more(50).await;
    put_in_place(&stage.bundle, &successor.pem());
    stage.wait_replaced().await;
    load.more(50).await;

    let last_failure = load.last_failure();
    let ledger = load.stop().await;
    let unknown = ledger.keys.iter().filter(|story| story.unknown.is_some()).count();
    assert_eq!((ledger.failed, unknown), (0, 0), "requests failed; the last: {last_failure}");

    let new = holdfast_client::Tls::new().ca_file(successor.file());
    let with = |pair: &Pair| new.clone().identity_files(&pair.certificate, &pair.key);
    put_as(&stage.cluster, with(&successor.issue("late", &[]))).await.expect("the new authority counts");
    put_as(&stage.cluster, with(&old_client)).await.expect_err("the old one does not");
    put_as(&stage.cluster, stage.scene.tls_as(&old_client)).await.expect_err("nor is it shown");
    // New connections between the members work too: a member that was away comes back.
    let leader = stage.cluster.wait_leader(None).await;
    stage.cluster.kill9(leader);
    stage.cluster.wait_leader(Some(leader)).await;
    stage.cluster.restart(leader).await;
    stage.cluster.wait_equal_hashes().await;
}

pub async fn broken() {
    let scene = Scene::new();
    let mut cluster = Cluster::lay_out(&Shape::holdfast(1).https_for_clients(scene.tls()));
    let own = scene.authority.issue("n1", &hosts(&cluster, 0));
    add_flag(&mut cluster, 0, "cert-file", &own.certificate);
    add_flag(&mut cluster, 0, "key-file", &own.key);
    start(&mut cluster).await;
    let good = std::fs::read_to_string(&own.certificate).expect("a file can be read");
    let failures = r#"holdfast_tls_reload_failures_total{port="client"}"#;
    let replaced = r#"holdfast_tls_reloads_total{port="client"}"#;
    let roots = scene.authority.file();
    assert_eq!(metric(&cluster, 0, &roots, None, failures).await, 0);

    let another = scene.authority.issue("other", &hosts(&cluster, 0));
    let others = std::fs::read_to_string(&another.certificate).expect("a file can be read");
    for (number, (contents, said)) in
        [("not a certificate", "holds no certificate"), (others.as_str(), "is not the key of the certificate")]
            .into_iter()
            .enumerate()
    {
        put_in_place(&own.certificate, contents);
        cluster.wait_said(0, said).await;
        // A new connection is served with what was there before.
        let counted = metric(&cluster, 0, &roots, None, failures).await;
        assert_eq!(counted, number as u64 + 1, "each broken renewal is counted once");
    }
    std::fs::remove_file(&own.certificate).expect("a file can be removed");
    cluster.wait_said(0, "cannot be read").await;
    put_as(&cluster, scene.tls()).await.expect("it is still served");
    put_in_place(&own.certificate, &good);
    cluster.wait_said(0, REPLACED).await;
    assert_eq!(metric(&cluster, 0, &roots, None, replaced).await, 1);
    let expiry =
        format!(r#"holdfast_tls_certificate_expiry_seconds{{file="{}",port="client"}}"#, own.certificate.display());
    assert!(metric(&cluster, 0, &roots, None, &expiry).await > 1_700_000_000, "a moment in Unix seconds");
}
