//! `deploy/trial-ca.sh`, holdfastctl and etcdctl, as OPERATIONS.md has them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_client::Tls;
use holdfast_jepsen::world::process::{Cluster, Program, Ran, Shape, find, holdfastctl_bin, run};

use crate::scene::{add_flag, hosts, start};

const LIMIT: Duration = Duration::from_secs(20);

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("deploy/trial-ca.sh")
}

fn has_openssl() -> bool {
    std::process::Command::new("openssl").arg("version").output().is_ok_and(|ran| ran.status.success())
}

fn make(folder: &Path, words: &[&str]) {
    let mut args = vec![script().display().to_string(), folder.display().to_string()];
    args.extend(words.iter().map(|word| (*word).to_owned()));
    let ran = run(Path::new("/bin/sh"), &args, "", LIMIT);
    assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.said());
}

pub async fn with_the_trial_authority() {
    if !has_openssl() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    make(folder.path(), &["ca"]);
    let mut cluster = Cluster::lay_out(
        &Shape::holdfast(1)
            .https_for_clients(Tls::new().ca_file(at("ca.pem")).identity_files(at("alice.pem"), at("alice-key.pem"))),
    );
    make(folder.path(), &["member", "n1", &hosts(&cluster, 0)[0], "localhost"]);
    make(folder.path(), &["client", "alice"]);
    make(folder.path(), &["client", "bob"]);
    make(folder.path(), &["revoke", "bob"]);
    for (flag, file) in [
        ("cert-file", "n1.pem"),
        ("key-file", "n1-key.pem"),
        ("trusted-ca-file", "ca.pem"),
        ("client-crl-file", "crl.pem"),
    ] {
        add_flag(&mut cluster, 0, flag, &at(file));
    }
    cluster.add_flag(0, "--client-cert-auth");
    start(&mut cluster).await;

    let ask = |program: &Path, who: &str, words: &[&str]| -> Ran {
        let file = |name: String| at(&name).display().to_string();
        let mut args = vec![
            format!("--endpoints={}", cluster.endpoint(0)),
            format!("--cacert={}", file("ca.pem".to_owned())),
            format!("--cert={}", file(format!("{who}.pem"))),
            format!("--key={}", file(format!("{who}-key.pem"))),
            "--command-timeout=3s".to_owned(),
            "--dial-timeout=2s".to_owned(),
        ];
        args.extend(words.iter().map(|word| (*word).to_owned()));
        run(program, &args, "", LIMIT)
    };
    let put = ask(&holdfastctl_bin(), "alice", &["put", "key", "value"]);
    assert_eq!((put.code, put.out().as_str()), (Some(0), "OK\n"), "{}", put.said());
    let status = ask(&holdfastctl_bin(), "alice", &["endpoint", "status", "--cluster"]);
    assert_eq!(status.code, Some(0), "{}", status.said());
    assert!(status.out().contains("https://"), "{}", status.said());
    assert_ne!(ask(&holdfastctl_bin(), "bob", &["get", "key"]).code, Some(0), "bob is revoked");

    let Some(etcdctl) = find(Program::Etcdctl) else {
        eprintln!("etcdctl is not installed: only holdfastctl was asked");
        return;
    };
    let got = ask(&etcdctl, "alice", &["get", "key"]);
    assert_eq!((got.code, got.out().as_str()), (Some(0), "key\nvalue\n"), "{}", got.said());
    assert_ne!(ask(&etcdctl, "bob", &["get", "key"]).code, Some(0), "bob is revoked");
}
