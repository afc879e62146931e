//! `/metrics` and the probes, as a scrape and an orchestrator see them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, PATIENCE, Program, Shape, find, run, until};

use crate::etcd_process::words;

/// Status and body of a plain GET.
fn get(endpoint: &str, path: &str) -> (u16, String) {
    let address = endpoint.strip_prefix("http://").expect("a plain endpoint");
    let mut stream = TcpStream::connect(address).expect("the client port takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if is_chunked { unchunked(body) } else { body.to_owned() })
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).expect("the length of a chunk");
        text.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    text
}

/// The sum over all labels of one metric.
fn value(text: &str, name: &str) -> f64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    let values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "{name} is missing in\n{text}");
    values.iter().sum()
}

pub async fn sane_values() {
    let cluster = Cluster::start(&Shape::holdfast(3)).await;
    let client = cluster.client();
    for number in 0..20 {
        client.put(format!("key/{:02}", number % 10), "value").await.expect("a write");
    }
    client.delete("key/00").await.expect("a delete");
    client.get("key/").prefix().await.expect("a read");
    let leader = cluster.wait_leader(None).await;
    let endpoint = cluster.endpoint(leader);
    // Keys are counted in the background after a start.
    until(PATIENCE, "count of keys", || async {
        let keys = value(&get(&endpoint, "/metrics").1, "etcd_debugging_mvcc_keys_total");
        if (keys - 9.0).abs() < 0.5 { Ok(()) } else { Err(format!("{keys} keys")) }
    })
    .await;
    let text = get(&endpoint, "/metrics").1;
    for (name, least, most) in [
        ("etcd_server_has_leader", 1.0, 1.0),
        ("etcd_server_is_leader", 1.0, 1.0),
        ("etcd_mvcc_put_total", 20.0, 20.0),
        ("etcd_mvcc_delete_total", 1.0, 1.0),
        ("etcd_debugging_mvcc_events_total", 21.0, 21.0),
        ("etcd_network_known_peers", 2.0, 2.0),
        ("etcd_network_peer_sent_bytes_total", 100.0, 1e9),
        ("etcd_network_peer_round_trip_time_seconds_count", 1.0, 1e9),
        ("etcd_disk_wal_fsync_duration_seconds_count", 1.0, 1e9),
        ("etcd_disk_backend_commit_duration_seconds_count", 1.0, 1e9),
        ("etcd_mvcc_db_total_size_in_bytes", 1.0, 1e9),
        ("etcd_server_quota_backend_bytes", 2147483648.0, 2147483648.0),
        ("process_resident_memory_bytes", 1e6, 1e12),
    ] {
        let found = value(&text, name);
        assert!((least..=most).contains(&found), "{name} is {found}, expected {least} to {most}");
    }
    let follower = cluster.endpoint((leader + 1) % 3);
    assert!(value(&get(&follower, "/metrics").1, "etcd_network_peer_received_bytes_total") > 100.0);
    match find(Program::Promtool) {
        Some(promtool) => {
            let ran = run(&promtool, &words(&["check", "metrics"]), &text, Duration::from_secs(60));
            // 3: it does not like some of etcd's names. 1: it could not read the text.
            assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.said());
            let ours = ran.err().lines().filter(|line| !line.starts_with("etcd_")).collect::<Vec<_>>().join("\n");
            assert_eq!(ours, "", "our own names follow the rules");
        }
        None => eprintln!("promtool is not installed: the text is not checked by it"),
    }
}

/// Status and body, as etcd 3.5.11 and later answer.
pub async fn probes() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    client.put("a", "1").await.expect("a write");
    let endpoint = cluster.endpoint(0);
    let ask = |path: &str| get(&endpoint, path);
    assert_eq!(ask("/health"), (200, r#"{"health":"true","reason":""}"#.to_owned()));
    assert_eq!(ask("/health?serializable=true").0, 200);
    assert_eq!(ask("/livez"), (200, "ok\n".to_owned()));
    assert_eq!(ask("/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(ask("/livez?verbose").1, "[+]serializable_read ok\nlivez check passed\n");
    for check in ["data_corruption", "serializable_read", "linearizable_read", "non_learner"] {
        assert_eq!(ask(&format!("/readyz/{check}")), (200, "ok\n".to_owned()), "{check}");
        assert!(ask("/readyz?verbose=true").1.contains(&format!("[+]{check} ok\n")), "{check}");
    }
    assert_eq!(ask("/readyz/nonsense").0, 404);

    let corrupt = holdfast_client::proto::etcdserverpb::AlarmType::Corrupt;
    let me = client.member_list().await.expect("members are listed").members[0].id;
    client.alarm_raise(me, corrupt).await.expect("an alarm can be raised");
    assert_eq!(ask("/health"), (503, r#"{"health":"false","reason":"ALARM CORRUPT"}"#.to_owned()));
    assert_eq!(ask("/health?exclude=CORRUPT").0, 200);
    assert_eq!(ask("/livez").0, 200, "a restart would help nothing");
    let (status, body) = ask("/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"), "{body}");
    assert_eq!(ask("/readyz?exclude=data_corruption").0, 200);
    assert_eq!(ask("/readyz/data_corruption").0, 503);
    client.alarm_disarm(me, corrupt).await.expect("an alarm can be taken back");
    assert_eq!(ask("/readyz").0, 200);
}
