//! The binary under the name `etcd`, started as those start it who have never heard of Holdfast.

#![cfg(not(madsim))]

mod etcd_process;
mod metrics;
mod refused;

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use etcd_process::{EtcdProcess, Ports, words};

/// pifpaf's driver for one node: every python suite that asks it for an etcd.
#[tokio::test(flavor = "multi_thread")]
async fn pifpaf_starts_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::take();
    let client_url = format!("http://localhost:{}", ports.client);
    let peer_url = format!("http://localhost:{}", ports.peer);
    let args = ["--data-dir", folder.path().to_str().expect("a plain path"), "--listen-peer-urls", &peer_url];
    let args = [&args[..], &["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]].concat();
    let mut etcd = EtcdProcess::start(folder.path(), &words(&args), &[]);
    etcd.wait_line("ready to serve client requests");
    put_and_get(&client_url).await;
    assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
}

/// pifpaf's driver for three nodes.
#[tokio::test(flavor = "multi_thread")]
async fn pifpaf_starts_three() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports: Vec<Ports> = (0..3).map(|_| Ports::take()).collect();
    let members: Vec<String> =
        ports.iter().enumerate().map(|(i, ports)| format!("pifpaf{i}=http://localhost:{}", ports.peer)).collect();
    let mut all: Vec<EtcdProcess> = ports
        .iter()
        .enumerate()
        .map(|(i, ports)| {
            let data_dir = folder.path().join(i.to_string()).display().to_string();
            let client_url = format!("http://localhost:{}", ports.client);
            let peer_url = format!("http://localhost:{}", ports.peer);
            let name = format!("pifpaf{i}");
            let args = [
                ["--data-dir", &data_dir],
                ["--name", &name],
                ["--listen-client-urls", &client_url],
                ["--advertise-client-urls", &client_url],
                ["--listen-peer-urls", &peer_url],
                ["--initial-advertise-peer-urls", &peer_url],
                ["--initial-cluster-token", "etcd-cluster-pifpaf"],
                ["--initial-cluster", &members.join(",")],
                ["--initial-cluster-state", "new"],
            ];
            EtcdProcess::start(folder.path(), &words(&args.concat()), &[])
        })
        .collect();
    for etcd in &mut all {
        etcd.wait_line("ready to serve client requests");
    }
    for ports in &ports {
        put_and_get(&format!("http://localhost:{}", ports.client)).await;
    }
    // Each hands leadership over if it has it, and is gone with the code of a clean end.
    for etcd in all.iter_mut().take(2) {
        assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
    }
}

/// Patroni's behave tests: a switch of etcd 3.4, and everything else by default or from the environment.
#[tokio::test(flavor = "multi_thread")]
async fn patroni_starts_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::take();
    let data_dir = folder.path().join("data").display().to_string();
    let environment = [
        ("ETCD_LISTEN_CLIENT_URLS", ports.client_url()),
        ("ETCD_ADVERTISE_CLIENT_URLS", ports.client_url()),
        ("ETCD_LISTEN_PEER_URLS", ports.peer_url()),
        ("ETCD_UNSUPPORTED_ARCH", "arm64".to_owned()),
    ];
    let args = words(&["--enable-v2=true", "--data-dir", &data_dir]);
    let mut etcd = EtcdProcess::start(folder.path(), &args, &environment);
    etcd.wait_line("ready to serve client requests");
    let line = etcd.wait_line("serving client traffic insecurely; this is strongly discouraged!");
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line of the log is an object");
    for key in ["level", "ts", "caller", "msg"] {
        assert!(line[key].is_string(), "{key} is missing in {line}");
    }
    assert!(etcd.said().contains("--enable-v2 has no effect"), "what is passed over is named: {}", etcd.said());
    assert!(etcd.said().contains("ETCD_UNSUPPORTED_ARCH"), "what is unknown is named: {}", etcd.said());
    put_and_get(&ports.client_url()).await;
    assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
}

/// etcd's own end-to-end tests, with what they and others pass that is an experiment, or gone, or not ours.
#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_tests_start_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::take();
    let (client, peer) = (ports.client_url(), ports.peer_url());
    let members = format!("test-0={peer}");
    let data_dir = folder.path().join("data").display().to_string();
    let pairs = [
        ["-name", "test-0"],
        ["-data-dir", &data_dir],
        ["-listen-client-urls", &client],
        ["-advertise-client-urls", &client],
        ["-listen-peer-urls", &peer],
        ["-initial-advertise-peer-urls", &peer],
        ["-initial-cluster", &members],
        ["-initial-cluster-token", "new"],
        ["-snapshot-count", "10000"],
        ["-initial-cluster-state", "new"],
        ["-log-level", "debug"],
        ["-max-wals", "5"],
        ["-logger", "zap"],
        ["-proxy", "off"],
        ["-metrics", "extensive"],
        ["-pre-vote", "false"],
        ["-feature-gates", "TxnModeWriteWithSharedBuffer=true"],
        ["-experimental-watch-progress-notify-interval", "100ms"],
        ["-experimental-never-heard-of", "7"],
        ["-auto-compaction-mode", "revision"],
        ["-auto-compaction-retention", "1000"],
    ];
    let mut args = words(&pairs.concat());
    args.extend(words(&["--initial-election-tick-advance", "--enable-pprof", "--unsafe-no-fsync"]));
    let mut etcd = EtcdProcess::start(folder.path(), &args, &[]);
    etcd.wait_line("ready to serve client requests");
    put_and_get(&client).await;
    for passed in ["--max-wals", "--experimental-never-heard-of", "--pre-vote", "--unsafe-no-fsync", "--enable-pprof"] {
        assert!(etcd.said().contains(passed), "{passed} is passed over and named: {}", etcd.said());
    }
    assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
}

/// A file as etcd's, and what stands beside it and does not count then.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_etcds_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::take();
    let file = folder.path().join("etcd.conf.yml");
    let text = format!(
        "name: 'filed'\ndata-dir: {}\nlisten-client-urls: {}\nadvertise-client-urls: {}\nlisten-peer-urls: {}\n\
         initial-advertise-peer-urls: {}\ninitial-cluster: filed={}\ninitial-cluster-token: etcd-cluster\n\
         initial-cluster-state: 'new'\nelection-timeout: 1000\nlog-outputs: [stderr, '{}']\n\
         watch-progress-notify-interval: 5000000000\ngrpc-keepalive-interval: 7200000000000\nproxy: 'off'\n\
         auto-compaction-retention: '1'\nenable-pprof: true\nquota-backend-bytes: 0\ndiscovery:\nno-such-key: 7\n",
        folder.path().join("data").display(),
        ports.client_url(),
        ports.client_url(),
        ports.peer_url(),
        ports.peer_url(),
        ports.peer_url(),
        folder.path().join("etcd.log").display(),
    );
    std::fs::write(&file, text).expect("a file can be written");
    let environment = [("ETCD_NAME", "other".to_owned())];
    let args = words(&["--config-file", file.to_str().expect("a plain path"), "--name=third"]);
    let mut etcd = EtcdProcess::start(folder.path(), &args, &environment);
    let line = etcd.wait_line("ready to serve client requests");
    assert!(line.contains("\"name\":\"filed\""), "the file alone counts: {line}");
    put_and_get(&ports.client_url()).await;
    for word in ["no-such-key", "--name", "ETCD_NAME", "--enable-pprof"] {
        assert!(etcd.said().contains(word), "{word} is passed over and named: {}", etcd.said());
    }
    assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
    let log = std::fs::read_to_string(folder.path().join("etcd.log")).expect("the log is a file too");
    assert!(log.contains("ready to serve client requests"), "{log}");
}

/// Debian's unit for etcd is of the type that waits to be told.
#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).expect("a socket in a temporary folder");
    systemd.set_read_timeout(Some(etcd_process::PATIENCE)).expect("a timeout can be set");
    let environment = [("NOTIFY_SOCKET", socket.display().to_string())];
    let mut etcd = EtcdProcess::start_one(folder.path(), &Ports::take(), &environment);
    let heard = || {
        let mut bytes = [0; 64];
        let length = systemd.recv(&mut bytes).expect("a word to systemd");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(heard(), "READY=1");
    assert_eq!(etcd.terminate(), Some(0), "{}", etcd.said());
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn nothing_given_is_default_etcd() {
    refused::default_data_dir();
}

#[test]
fn command_lines_are_refused_as_by_etcd() {
    refused::command_lines();
}

#[test]
fn what_would_be_missed_is_refused_with_what_to_do() {
    refused::missed();
}

#[test]
fn the_data_of_an_etcd_is_left_alone() {
    refused::data_of_etcd();
}

#[test]
fn version_and_help_are_shown() {
    refused::version_and_help();
}

/// Row by row of the page that operators read.
#[test]
fn the_table_of_flags_is_true() {
    refused::table_of_flags();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_etcds_names_and_sane_values() {
    metrics::sane_values().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_as_etcds() {
    metrics::probes().await;
}

async fn put_and_get(url: &str) {
    let client = holdfast_client::Client::connect([url], holdfast_client::Options::default()).expect("a URL");
    client.put("greeting", "hello").await.expect("a member that is ready takes writes");
    let found = client.get("greeting").await.expect("a member that is ready answers reads");
    assert_eq!(found.kvs.first().map(|kv| kv.value.as_ref()), Some(&b"hello"[..]));
}

/// The server under another name.
fn link(folder: &Path) -> std::path::PathBuf {
    let link = folder.join("etcd");
    if !link.exists() {
        // Threads of one test may race for it; whoever comes second finds it.
        let _exists = std::os::unix::fs::symlink(holdfast_jepsen::world::process::holdfast_bin(), &link);
    }
    link
}
