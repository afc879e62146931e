//! JSON web tokens in a cluster of three: one that a member has issued is good on every member, until its time is over
//! or users have changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, Shape};

use crate::auth::{ANNS_PASSWORD, check_everywhere, get, said, set_up, token};

const TTL: Duration = Duration::from_secs(5);

/// Keys as openssl makes them; `None` where it is not installed.
fn keys(folder: &Path, name: &str, generate: &[&str]) -> Option<(PathBuf, PathBuf)> {
    let (private, public) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.pub.pem")));
    let run = |words: &[&str], end: &[&Path]| {
        Command::new("openssl").args(words).args(end).output().is_ok_and(|ran| ran.status.success())
    };
    let made = run(generate, &[Path::new("-out"), &private])
        && run(&["pkey", "-pubout"], &[Path::new("-in"), &private, Path::new("-out"), &public]);
    made.then_some((private, public))
}

async fn with(method: &str, options: &str) {
    let setting = format!("jwt,sign-method={method},{options},ttl={}s", TTL.as_secs());
    let cluster = Cluster::start(&Shape::holdfast(3).flag("--auth-token", setting)).await;
    let root = set_up(&cluster).await;
    let anns = token(&cluster, 0, "ann", ANNS_PASSWORD).await.expect("her password");
    assert_eq!(anns.split('.').count(), 3, "a JSON web token: {anns}");
    check_everywhere(&cluster, &anns).await;
    root.user_add("bob", None).await.expect("root may");
    for node in 0..cluster.len() {
        assert_eq!(said(get(&cluster, node, "p/a", Some(&anns)).await), "etcdserver: revision of auth store is old");
    }
    let next = token(&cluster, 1, "ann", ANNS_PASSWORD).await.expect("her password");
    get(&cluster, 2, "p/a", Some(&next)).await.expect("the newer token is good");
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    for node in 0..cluster.len() {
        assert_eq!(said(get(&cluster, node, "p/a", Some(&next)).await), "etcdserver: invalid auth token");
    }
}

pub async fn on_every_member() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of all members").expect("a file can be written");
    let shared = format!("priv-key={}", secret.display());
    let rsa = keys(folder.path(), "rsa", &["genrsa", "2048"]);
    let elliptic = keys(folder.path(), "ec", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]);
    let (Some(rsa), Some(elliptic)) = (rsa, elliptic) else {
        println!("SKIPPED: RS256 and ES256, as openssl is not installed");
        return with("HS256", &shared).await;
    };
    let rsa = format!("pub-key={},priv-key={}", rsa.1.display(), rsa.0.display());
    // The private key alone, in SEC 1 as openssl writes it.
    let elliptic = format!("priv-key={}", elliptic.0.display());
    tokio::join!(with("HS256", &shared), with("RS256", &rsa), with("ES256", &elliptic));
}
