//! Starts that are refused because of what is in the files.

use std::path::Path;
use std::time::Duration;

use holdfast_jepsen::world::process::{holdfast_bin, run};

use crate::authority::{Pair, Validity};
use crate::scene::Scene;

const LIMIT: Duration = Duration::from_secs(20);
/// The exit code of a node that cannot start.
const NOT_STARTED: i32 = 1;

/// Certificate, key, a further flag and its file, and what is said.
type Row<'f> = (&'f Path, &'f Path, Option<(&'f str, &'f Path)>, [&'f str; 2]);

pub fn story() {
    let scene = Scene::new();
    let hosts = ["127.0.0.1".to_owned()];
    let good = scene.authority.issue("n1", &hosts);
    let other = scene.authority.issue("n2", &hosts);
    let over = scene.authority.issue_valid("over", &hosts, Validity::Over);
    let missing = scene.path("missing.pem");
    let text = scene.path("text.pem");
    std::fs::write(&text, "hello").expect("a file can be written");
    let locked = scene.path("locked.pem");
    std::fs::write(&locked, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .expect("a file can be written");
    let Pair { certificate, key, .. } = &good;
    let rows: [Row<'_>; 8] = [
        (&missing, key, None, ["missing.pem", "cannot be read"]),
        (&text, key, None, ["text.pem", "holds no certificate"]),
        (certificate, &text, None, ["text.pem", "holds no private key"]),
        (certificate, &locked, None, ["locked.pem", "locked with a password"]),
        (certificate, &other.key, None, ["is not the key of the certificate in", "n2"]),
        (&over.certificate, &over.key, None, ["has expired at", "over"]),
        (certificate, key, Some(("trusted-ca-file", &text)), ["text.pem", "holds no certificate"]),
        (certificate, key, Some(("client-crl-file", &text)), ["text.pem", "holds no list of revoked certificates"]),
    ];
    for (certificate, key, further, words) in rows {
        let mut args: Vec<String> = ["serve", "--listen-client-urls=https://127.0.0.1:0", "--listen-peer-urls"]
            .iter()
            .map(|word| (*word).to_owned())
            .collect();
        args.push("http://127.0.0.1:0".to_owned());
        args.push(format!("--data-dir={}", scene.path("data").display()));
        args.push(format!("--cert-file={}", certificate.display()));
        args.push(format!("--key-file={}", key.display()));
        if let Some((flag, file)) = further {
            if flag != "trusted-ca-file" {
                args.push(format!("--trusted-ca-file={}", scene.authority.file().display()));
            }
            args.push(format!("--{flag}={}", file.display()));
        }
        let ran = run(&holdfast_bin(), &args, "", LIMIT);
        assert_eq!(ran.code, Some(NOT_STARTED), "{}", ran.said());
        for word in words {
            assert!(ran.said().contains(word), "it should have said {word:?}, and said:\n{}", ran.said());
        }
    }
    assert!(!scene.path("data").exists(), "a refused start leaves nothing behind");
}
