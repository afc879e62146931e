//! Certificates of clients, and of servers as clients see them.

use holdfast_client::{Client, Fate, Options, Tls};

use crate::authority::{Authority, Validity, put_in_place};
use crate::scene::{Scene, add_flag, put_as, start};

pub async fn only_good_ones() {
    let scene = Scene::new();
    let stranger = Authority::new(scene.folder.path(), "stranger");
    let [good, gone] = ["good", "gone"].map(|name| scene.authority.issue(name, &[]));
    let over = scene.authority.issue_valid("over", &[], Validity::Over);
    let strange = stranger.issue("good", &[]);
    let list = scene.path("crl.pem");
    std::fs::write(&list, scene.authority.revoked(&[&gone])).expect("a file can be written");

    let mut cluster = scene.lay_out(1, scene.tls_as(&good));
    cluster.add_flag(0, "--client-cert-auth");
    add_flag(&mut cluster, 0, "trusted-ca-file", &scene.authority.file());
    add_flag(&mut cluster, 0, "client-crl-file", &list);
    start(&mut cluster).await;
    cluster.client().put("key", "good").await.expect("a good certificate is let in");

    let rows = [
        (scene.tls(), "CertificateRequired", "peer sent no certificates"),
        (scene.tls_as(&strange), "UnknownCA", "UnknownIssuer"),
        (scene.tls_as(&over), "CertificateExpired", "expired"),
        (scene.tls_as(&gone), "CertificateRevoked", "Revoked"),
    ];
    for (tls, told, logged) in rows {
        let refused = put_as(&cluster, tls.clone()).await.expect_err("it is refused");
        assert_eq!(refused.fate(), Fate::NotExecuted, "{tls:?}: {refused}");
        assert!(refused.to_string().contains(told), "{tls:?}: {refused}");
        cluster.wait_said(0, logged).await;
    }
    let held = cluster.client().get("key").await.expect("a read");
    assert_eq!(held.kvs[0].value, "good", "nobody who was refused wrote");
}

pub async fn revoked_while_running() {
    let scene = Scene::new();
    let [good, gone] = ["good", "gone"].map(|name| scene.authority.issue(name, &[]));
    let list = scene.path("crl.pem");
    put_in_place(&list, &scene.authority.revoked(&[]));
    let mut cluster = scene.lay_out(1, scene.tls_as(&good));
    add_flag(&mut cluster, 0, "trusted-ca-file", &scene.authority.file());
    add_flag(&mut cluster, 0, "client-crl-file", &list);
    start(&mut cluster).await;
    put_as(&cluster, scene.tls_as(&gone)).await.expect("not revoked yet");
    put_in_place(&list, &scene.authority.revoked(&[&gone]));
    cluster.wait_said(0, "certificates were replaced").await;
    let refused = put_as(&cluster, scene.tls_as(&gone)).await.expect_err("revoked");
    assert!(refused.to_string().contains("CertificateRevoked"), "{refused}");
    put_as(&cluster, scene.tls_as(&good)).await.expect("others are let in as before");
}

pub async fn only_allowed_hosts() {
    let scene = Scene::new();
    let good = scene.authority.issue("a", &["backup.example".to_owned()]);
    let other = scene.authority.issue("b", &["other.example".to_owned()]);
    let mut cluster = scene.lay_out(1, scene.tls_as(&good));
    add_flag(&mut cluster, 0, "trusted-ca-file", &scene.authority.file());
    cluster.add_flag(0, "--client-cert-allowed-hostname=backup.example");
    start(&mut cluster).await;
    put_as(&cluster, scene.tls_as(&good)).await.expect("an allowed host is let in");
    put_as(&cluster, scene.tls_as(&other)).await.expect_err("another host is refused");
    cluster.wait_said(0, "may connect").await;
}

pub async fn strange_servers() {
    let scene = Scene::new();
    let stranger = Authority::new(scene.folder.path(), "stranger");
    let mut cluster = scene.lay_out(1, scene.tls());
    start(&mut cluster).await;

    let strange = put_as(&cluster, Tls::new().ca_file(stranger.file())).await.expect_err("not to be verified");
    assert!(strange.to_string().contains("UnknownIssuer"), "{strange}");
    assert_eq!(strange.fate(), Fate::NotExecuted);
    let misnamed = put_as(&cluster, scene.tls().server_name("store.example")).await.expect_err("another name");
    assert!(misnamed.to_string().contains("store.example"), "{misnamed}");
    put_as(&cluster, Tls::new().insecure_skip_verify()).await.expect("whoever asks for no proof gets none");

    // Without a scheme, TLS is meant where TLS was asked for.
    let bare = crate::scene::authority_of(&cluster.endpoint(0));
    let options = Options { tls: Some(scene.tls()), ..Options::default() };
    Client::connect([bare], options).expect("options").put("key", "value").await.expect("a write");
}
