//! What operators write, and what they are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::ops::AutoCompaction;
use crate::settings::ClusterState;

fn settled(
    flags: &[(&'static str, &str)],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Config, ConfigError> {
    let flags: Vec<(&'static str, String)> = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let file = file.map(|contents| (Path::new("/etc/holdfast.yml"), contents));
    settle(&Sources::gather(Manner::Holdfast, &flags, &environment, file)?)
}

fn with(flags: &[(&'static str, &str)]) -> Config {
    settled(flags, &[], None).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(flags: &[(&'static str, &str)]) -> String {
    settled(flags, &[], None).expect_err("should have been refused").to_string()
}

#[test]
fn nothing_given_is_a_cluster_of_one_on_this_machine() {
    let config = with(&[]);
    let settings = &config.settings;
    assert_eq!(settings.name, "default");
    assert_eq!(settings.listen_client_urls, ["http://localhost:2379"]);
    assert_eq!(settings.advertise_client_urls, ["http://localhost:2379"]);
    assert_eq!(settings.initial_cluster, [("default".to_owned(), vec!["http://localhost:2380".to_owned()])].into());
    assert_eq!(settings.initial_cluster_state, ClusterState::New);
    assert_eq!(settings.data_dir.file_name().unwrap(), "default.holdfast");
    assert_eq!(settings.wal_dir, settings.data_dir.join("wal"));
    assert_eq!((settings.timing.heartbeat_ms, settings.timing.election_ms), (100, 400));
    assert_eq!(settings.auto_compaction, AutoCompaction::Periodic { keep_ms: 3_600_000 });
    assert_eq!(settings.limits, crate::types::Limits::default());
    assert_eq!(config.remarks, Vec::<String>::new());
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = Some("name: from-file\nzone: from-file\ndata-dir: /from/file\nmax-txn-ops: 7\n");
    let environment = [
        ("ETCD_NAME", "from-etcd"),
        ("HOLDFAST_NAME", "from-holdfast"),
        ("ETCD_ZONE", "from-etcd"),
        ("HOLDFAST_ZONE", "from-holdfast"),
        ("ETCD_DATA_DIR", "/from/etcd"),
    ];
    let settings = settled(&[("name", "from-flag")], &environment, file).unwrap().settings;
    assert_eq!(settings.name, "from-flag");
    assert_eq!(settings.zone, "from-holdfast");
    assert_eq!(settings.data_dir, PathBuf::from("/from/etcd"));
    assert_eq!(settings.limits.txn_ops_max, 7);
}

#[test]
fn three_members_are_read_and_this_one_is_found_among_them() {
    let settings = with(&[
        ("name", "n2"),
        ("zone", "b"),
        ("listen-client-urls", "http://0.0.0.0:2379,http://127.0.0.1:12379/"),
        ("advertise-client-urls", "http://n2.example:2379"),
        ("listen-peer-urls", "http://[::]:2380"),
        ("initial-advertise-peer-urls", "http://n2.example:2380"),
        ("initial-cluster", "n1=http://n1.example:2380,n2=http://n2.example:2380,n3=http://10.0.0.3:2380"),
        ("initial-cluster-state", "existing"),
    ])
    .settings;
    assert_eq!(settings.listen_client_urls, ["http://0.0.0.0:2379", "http://127.0.0.1:12379"]);
    assert_eq!(settings.initial_cluster.len(), 3);
    assert_eq!(settings.initial_cluster_state, ClusterState::Existing);
}

#[test]
fn retention_is_time_or_revisions() {
    let kept = |flags: &[(&'static str, &str)]| with(flags).settings.auto_compaction;
    let hours = |hours: u64| AutoCompaction::Periodic { keep_ms: hours * 3_600_000 };
    assert_eq!(kept(&[("auto-compaction-retention", "3")]), hours(3));
    assert_eq!(kept(&[("auto-compaction-retention", "90m")]), AutoCompaction::Periodic { keep_ms: 5_400_000 });
    assert_eq!(kept(&[("auto-compaction-retention", "0")]), AutoCompaction::Off);
    let by_revision = ("auto-compaction-mode", "revision");
    assert_eq!(kept(&[by_revision, ("auto-compaction-retention", "1000")]), AutoCompaction::Revisions { keep: 1000 });
    assert!(refusal(&[by_revision]).contains("how many revisions"));
    assert!(refusal(&[by_revision, ("auto-compaction-retention", "1h")]).contains("a whole number"));
}

#[test]
fn a_files_durations_are_nanoseconds_and_its_switches_words() {
    let file = "watch-progress-notify-interval: 5000000000\nrequest-timeout: 3s\nstrict-reconfig-check: true\n";
    let settings = settled(&[], &[], Some(file)).unwrap().settings;
    assert_eq!(settings.watch_progress_interval, Duration::from_secs(5));
    assert_eq!(settings.limits.request_deadline_ms, 3000);
}

#[test]
fn an_unknown_key_of_the_file_is_named_with_the_nearest_known() {
    let refused = |file| settled(&[], &[], Some(file)).unwrap_err().to_string();
    assert_eq!(
        refused("election-timout: 500\n"),
        "/etc/holdfast.yml: unknown key \"election-timout\": did you mean \"election-timeout\"?"
    );
    assert_eq!(
        refused("client-transport-security: {cert: a.pem}\n"),
        "/etc/holdfast.yml: unknown key \"client-transport-security.cert\""
    );
    assert!(refused("- a\n- b\n").starts_with("/etc/holdfast.yml: expected keys and values"));
    assert!(refused("name: [a, b]\n").contains("expected one value"));
}

#[test]
fn what_is_wrong_is_said_with_where_it_stands() {
    let environment = [("ETCD_ELECTION_TIMEOUT", "soon")];
    let said = settled(&[], &environment, None).unwrap_err().to_string();
    assert_eq!(
        said,
        "--election-timeout (from ETCD_ELECTION_TIMEOUT) is \"soon\": expected a whole number from 1 to 50000"
    );
    let said = settled(&[], &[], Some("max-txn-ops: 0\n")).unwrap_err().to_string();
    assert!(said.starts_with("--max-txn-ops (from /etc/holdfast.yml) is \"0\": expected a whole number"), "{said}");
}

/// Each row: flags, and what the refusal must say.
#[test]
fn bad_settings_are_refused_with_what_is_expected() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        (&[("listen-client-urls", "localhost:2379")], "http://"),
        (&[("listen-client-urls", "http://localhost")], "names no port"),
        (&[("listen-client-urls", "http://example.com:2379")], "is a name"),
        (&[("listen-client-urls", "ftp://127.0.0.1:2379")], "no http:// or https://"),
        (&[("listen-client-urls", "http://127.0.0.1:2379/x")], "behind the port"),
        (&[("listen-client-urls", "")], "--listen-client-urls is \"\""),
        (&[("listen-client-urls", "http://127.0.0.1:1,http://127.0.0.1:1")], "stands twice"),
        (&[("listen-client-urls", "http://127.0.0.1:1"), ("listen-peer-urls", "http://127.0.0.1:1")], "two purposes"),
        (&[("listen-client-urls", "http://0.0.0.0:2379")], "say with --advertise-client-urls"),
        (&[("listen-peer-urls", "http://0.0.0.0:2380")], "say with --initial-advertise-peer-urls"),
        (&[("advertise-client-urls", "http://0.0.0.0:2379")], "nobody can reach \"http://0.0.0.0:2379\""),
        (&[("max-concurrent-streams", "0")], "max-concurrent-streams"),
        (&[("initial-cluster", "n1=http://127.0.0.1:2380")], "this one is called \"default\""),
        (&[("initial-cluster", "default=http://127.0.0.1:9")], "must be the same"),
        (&[("initial-cluster", "http://127.0.0.1:2380")], "has no name in front"),
        (&[("initial-cluster", "a=http://h:1,b=http://h:1")], "stands for a and for b"),
        (&[("initial-cluster", "")], "members like"),
        (&[("initial-cluster-state", "old")], "new or existing"),
        (&[("initial-cluster-token", "")], "a word"),
        (&[("name", "a=b")], "without ',', '=' and '/'"),
        (&[("heartbeat-interval", "200")], "at least 3 heartbeats"),
        (&[("election-timeout", "60000")], "from 1 to 50000"),
        (&[("quota-backend-bytes", "-1")], "a whole number"),
        (&[("request-timeout", "0")], "above 0"),
        (&[("request-timeout", "5")], "a length of time like"),
        (&[("auto-compaction-mode", "yearly")], "periodic or revision"),
        (&[("strict-reconfig-check", "false")], "always on"),
        (&[("pre-vote", "false")], "always on"),
        (&[("log-level", "holdfast=loud")], "error, warn, info"),
        (&[("log-level", "loud")], "error, warn, info"),
        (&[("log-format", "xml")], "json or console"),
        (&[("log-outputs", "syslog")], "stderr, stdout or files"),
    ];
    for (flags, expected) in rows {
        let said = refusal(flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
        assert!(said.contains("--") || said.contains("two purposes"), "{flags:?} names no setting: {said}");
    }
}

#[test]
fn what_has_no_effect_is_remarked() {
    let environment = [("HOLDFAST_SERVICE_PORT", "2379"), ("ETCD_ENABLE_V2", "true"), ("PATH", "/bin")];
    let remarks = settled(&[("logger", "zap")], &environment, None).unwrap().remarks;
    assert_eq!(
        remarks,
        [
            "the environment variable HOLDFAST_SERVICE_PORT names no setting and is passed over",
            "--logger has no effect: There is one logger",
            "--enable-v2 (from ETCD_ENABLE_V2) has no effect: There is no v2 API",
        ]
    );
}

fn as_etcd(flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags: Vec<(String, String)> =
        flags.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    settle(&Sources::gather(Manner::Etcd, &flags, &BTreeMap::new(), None)?)
}

#[test]
fn etcds_defaults_count_in_its_manner() {
    let settings = as_etcd(&[("name", "n1")]).unwrap().settings;
    assert_eq!(settings.data_dir.file_name().unwrap(), "n1.etcd");
    assert_eq!(settings.wal_dir, settings.data_dir.join("wal"));
    assert_eq!(settings.initial_cluster_token, "etcd-cluster");
    assert_eq!(settings.auto_compaction, AutoCompaction::Off);
    assert_eq!(settings.listen_client_urls, ["http://localhost:2379"]);
    assert_eq!((settings.timing.heartbeat_ms, settings.timing.election_ms), (100, 400));
    // Slower heartbeats fit into the second that etcd waits by default, and must here.
    assert_eq!(as_etcd(&[("heartbeat-interval", "200")]).unwrap().settings.timing.election_ms, 1000);
    // What is empty is not given, as in scripts with a variable behind the equals sign.
    let settings = as_etcd(&[("wal-dir", ""), ("data-dir", "/d")]).unwrap().settings;
    assert_eq!(settings.wal_dir, PathBuf::from("/d/wal"));
    // For etcd this advertises localhost; nobody else could use the address.
    let settings = as_etcd(&[("listen-peer-urls", "http://0.0.0.0:2380")]).unwrap().settings;
    assert_eq!(settings.advertise_peer_urls, ["http://localhost:2380"]);
}

#[test]
fn addresses_that_nobody_can_reach_are_taken_from_etcds_scripts_and_remarked() {
    let any = [("listen-client-urls", "http://0.0.0.0:2379"), ("advertise-client-urls", "http://0.0.0.0:2379")];
    let config = as_etcd(&any).unwrap();
    assert_eq!(config.settings.advertise_client_urls, ["http://0.0.0.0:2379"]);
    assert!(config.remarks.iter().any(|remark| remark.contains("which nobody can reach")), "{:?}", config.remarks);
}

#[test]
fn ports_for_http_serve_clients_and_are_not_advertised() {
    let settings = as_etcd(&[("listen-client-http-urls", "http://127.0.0.1:2382")]).unwrap().settings;
    assert_eq!(settings.listen_client_urls, ["http://localhost:2379", "http://127.0.0.1:2382"]);
    assert_eq!(settings.advertise_client_urls, ["http://localhost:2379"]);
}

#[test]
fn what_etcd_has_and_we_have_not_is_said_or_refused() {
    let remarks = as_etcd(&[("max-wals", "5"), ("pre-vote", "false"), ("experimental-x", "1")]).unwrap().remarks;
    assert_eq!(remarks.len(), 3, "{remarks:?}");
    for (name, remark) in ["--experimental-x", "--max-wals", "--pre-vote"].iter().zip({
        let mut sorted = remarks.clone();
        sorted.sort();
        sorted
    }) {
        assert!(remark.starts_with(name), "{remark}");
    }
    // Turned off is what we do anyway.
    assert_eq!(as_etcd(&[("force-new-cluster", "false"), ("proxy", "off")]).unwrap().remarks, Vec::<String>::new());
    let said = as_etcd(&[("force-new-cluster", "true")]).unwrap_err().to_string();
    assert!(said.contains("--force-new-cluster") && said.contains("snapshot restore"), "{said}");
}

const HTTPS: (&str, &str) = ("listen-client-urls", "https://127.0.0.1:2379");
const PEER_HTTPS: (&str, &str) = ("listen-peer-urls", "https://127.0.0.1:2380");

#[test]
fn tls_is_read_for_each_port() {
    use crate::types::{AllowedNames, ClientCertificates, KeyPairFiles, OwnCertificate, TlsVersion};
    let settings = with(&[
        HTTPS,
        PEER_HTTPS,
        ("cert-file", "/c.pem"),
        ("key-file", "/k.pem"),
        ("client-cert-auth", "true"),
        ("trusted-ca-file", "/ca.pem"),
        ("peer-auto-tls", "true"),
        ("peer-trusted-ca-file", "/peers.pem"),
        ("peer-cert-allowed-cn", "n1, n2"),
        ("tls-min-version", "TLS1.3"),
    ])
    .settings;
    let tls = &settings.tls;
    let pair = KeyPairFiles { certificate: PathBuf::from("/c.pem"), key: PathBuf::from("/k.pem") };
    assert_eq!(tls.client.own, OwnCertificate::Files(pair));
    assert_eq!(tls.client.clients, ClientCertificates::RequiredAndNaming);
    assert_eq!(tls.peer.own, OwnCertificate::SelfSigned);
    assert_eq!(tls.peer.clients, ClientCertificates::Required, "authorities alone are reason enough, as in etcd");
    assert_eq!(tls.peer.allowed, AllowedNames::CommonNames(vec!["n1".to_owned(), "n2".to_owned()]));
    assert_eq!((tls.oldest, tls.newest), (TlsVersion::V1_3, TlsVersion::V1_3));
    assert_eq!(settings.advertise_client_urls, ["https://127.0.0.1:2379"]);
}

#[test]
fn certificates_without_https_are_remarked_and_not_read() {
    let config = with(&[("cert-file", "/none.pem"), ("key-file", "/none-key.pem")]);
    assert_eq!(config.settings.tls, crate::types::TlsSettings::default());
    assert_eq!(config.remarks.len(), 1);
    assert!(config.remarks[0].contains("http://localhost:2379 is served without TLS"), "{:?}", config.remarks);
}

#[test]
fn what_makes_no_sense_of_tls_is_refused() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        (&[HTTPS], "give --cert-file and --key-file, or --auto-tls"),
        (&[PEER_HTTPS], "give --peer-cert-file and --peer-key-file"),
        (&[HTTPS, ("cert-file", "/c.pem")], "without its key: give --key-file"),
        (&[HTTPS, ("key-file", "/k.pem")], "without its certificate: give --cert-file"),
        (&[HTTPS, ("auto-tls", "true"), ("client-cert-auth", "true")], "give --trusted-ca-file"),
        (&[HTTPS, ("auto-tls", "true"), ("client-crl-file", "/crl.pem")], "nobody is asked for one"),
        (&[PEER_HTTPS, ("peer-auto-tls", "true"), ("peer-cert-allowed-cn", "n1")], "nobody is asked for one"),
        (&[("peer-cert-allowed-cn", "n1"), ("peer-cert-allowed-hostname", "n1")], "both given"),
        (&[("tls-min-version", "TLS1.1")], "TLS1.2 or TLS1.3"),
        (&[("tls-min-version", "TLS1.3"), ("tls-max-version", "TLS1.2")], "no version is left"),
        (&[("cipher-suites", "TLS_ROT13")], "TLS_ROT13 is not known"),
        (&[("cipher-suites", "TLS_RSA_WITH_RC4_128_SHA")], "not safe"),
        (
            &[("cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), ("tls-min-version", "TLS1.3")],
            "suites of TLS 1.2 alone",
        ),
        (&[("self-signed-cert-validity", "0")], "from 1 to 100"),
    ];
    for (flags, expected) in rows {
        let said = refusal(flags);
        assert!(said.contains(expected), "{flags:?}: {said}");
    }
    let both = "TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let config = with(&[("cipher-suites", both)]);
    assert_eq!(config.settings.tls.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    assert!(config.remarks[0].contains("TLS_RSA_WITH_RC4_128_SHA"), "{:?}", config.remarks);
}
