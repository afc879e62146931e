//! Snapshots that become a Holdfast of three members: its own, and a real etcd's. Every key, lease, user and role is
//! there, at old revisions too, and the new cluster lives on: it takes writes, and a fourth member.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_client::{Access, AttachedKeys, Client, JoinAs, Login, Options, PermittedKeys};
use holdfast_jepsen::world::process::{Cluster, Ran, Shape, holdfast_bin, run, until};

use crate::Pair;

const LIMIT: Duration = Duration::from_secs(60);
/// Larger than a leaf of the file, so that there is a tree.
const LARGE_BYTES: usize = 700_000;
/// Written before this is compacted away.
const COMPACTED: i64 = 50;

fn holdfast(args: &[String]) -> Ran {
    tokio::task::block_in_place(|| run(&holdfast_bin(), args, "", LIMIT))
}

/// History, tombstones, leases, large values, users, roles: what a snapshot can hold. Gives back the lease.
pub async fn live(client: &Client) -> i64 {
    let lease = client.lease_grant(100_000).await.expect("a lease").id;
    for number in 0..70 {
        client.put(format!("key/{:02}", number % 40), format!("{number}")).await.expect("put");
    }
    client.put("large/1", "x".repeat(LARGE_BYTES)).await.expect("put");
    client.put("large/2", "y".repeat(LARGE_BYTES)).await.expect("put");
    client.put("leased", "1").lease(lease).await.expect("put");
    client.delete("key/07").await.expect("deleted");
    client.compact(COMPACTED).await.expect("compacted");
    client.role_add("r").await.expect("role");
    client.role_grant_permission("r", Access::Readwrite, PermittedKeys::prefix("key/")).await.expect("granted");
    client.user_add("ann", Some("a-password")).await.expect("user");
    client.user_grant_role("ann", "r").await.expect("granted");
    lease
}

/// What clients see of all that.
async fn everything(client: &Client, newest: i64) -> Vec<String> {
    let mut seen = Vec::new();
    for revision in COMPACTED..=newest {
        let all = client.get("").prefix().revision(revision).await.expect("a revision that is kept");
        seen.push(format!("{revision}: {} {:?}", all.count, all.kvs));
    }
    let before = client.get("").prefix().revision(COMPACTED - 1).await.expect_err("it is compacted");
    seen.push(before.to_string());
    seen.push(format!("{:?}", client.user_get("ann").await.expect("a user").roles));
    seen.push(format!("{:?}", client.role_get("r").await.expect("a role").perm));
    seen
}

async fn save(client: &Client, path: &Path) {
    let mut saved = Vec::new();
    client.snapshot(&client.endpoints()[0], &mut saved).await.expect("a snapshot");
    std::fs::write(path, saved).expect("a file");
}

fn client_as(cluster: &Cluster, index: usize, user: &str, password: &str) -> Client {
    let login = Some(Login { user: user.to_owned(), password: password.to_owned() });
    Client::connect([cluster.endpoint(index)], Options { login, ..Options::default() }).expect("a client")
}

fn restore_args(file: &Path, cluster: &Cluster, index: usize) -> Vec<String> {
    let members: Vec<String> =
        (0..cluster.len()).map(|index| format!("{}={}", cluster.name(index), cluster.peer_url(index))).collect();
    vec![
        "snapshot".to_owned(),
        "restore".to_owned(),
        file.display().to_string(),
        format!("--name={}", cluster.name(index)),
        format!("--initial-cluster={}", members.join(",")),
        format!("--initial-advertise-peer-urls={}", cluster.peer_url(index)),
        format!("--data-dir={}", cluster.data_dir(index).display()),
        "--initial-cluster-token=another".to_owned(),
    ]
}

/// A cluster of three on the file, all of whom were started.
fn restored(file: &Path) -> Cluster {
    let mut cluster = Cluster::lay_out(&Shape::holdfast(3));
    for index in 0..cluster.len() {
        let ran = holdfast(&restore_args(file, &cluster, index));
        assert_eq!(ran.code, Some(0), "{}", ran.said());
    }
    (0..cluster.len()).for_each(|index| cluster.spawn(index));
    cluster
}

async fn newest(client: &Client) -> i64 {
    client.get("leased").await.expect("read").header.expect("a header").revision
}

/// What `before` saw is what the cluster on `file` shows, and the cluster lives.
async fn is_all_there(file: &Path, lease: i64, before: Vec<String>, revision: i64) {
    let mut cluster = restored(file);
    cluster.wait_formed().await;
    for index in 0..cluster.len() {
        let one = cluster.client_of(index, LIMIT);
        assert_eq!(newest(&one).await, revision);
        assert_eq!(everything(&one, revision).await, before, "as {} has it", cluster.name(index));
    }
    let client = cluster.client();
    let kept = client.lease_time_to_live(lease, AttachedKeys::List).await.expect("the lease is there");
    assert!((99_000..=100_000).contains(&kept.ttl), "{kept:?}");
    assert_eq!(kept.keys, ["leased"]);

    // It takes writes, survives its members' end, and who joins gets what was restored.
    client.put("key/00", "new").await.expect("put");
    for index in 0..cluster.len() {
        cluster.kill9(index);
    }
    (0..cluster.len()).for_each(|index| cluster.spawn(index));
    cluster.wait_formed().await;
    let late = cluster.add_machine("");
    cluster.add_member(late, JoinAs::Voter).await;
    cluster.restart(late).await;
    cluster.wait_equal_hashes().await;
    client.lease_revoke(lease).await.expect("revoked");
    assert_eq!(client.get("leased").await.expect("read").count, 0);

    // Users keep their passwords, and tokens can be signed again.
    client.user_add("root", Some("root-password")).await.expect("user");
    client.user_grant_role("root", "root").await.expect("granted");
    client.auth_enable().await.expect("enabled");
    let ann = client_as(&cluster, 1, "ann", "a-password");
    assert_eq!(ann.get("key/00").await.expect("ann may").count, 1);
    ann.get("large/1").await.expect_err("ann may not");
    client_as(&cluster, 1, "ann", "another").get("key/00").await.expect_err("it is not her password");
}

pub async fn becomes_a_holdfast() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    let lease = live(&client).await;
    let file = cluster.folder().join("saved.db");
    save(&client, &file).await;
    let revision = newest(&client).await;
    is_all_there(&file, lease, everything(&client, revision).await, revision).await;
}

pub async fn an_etcds(pair: Option<Pair>) {
    let Some(Pair { etcd, etcdctl }) = pair else { return };
    let cluster = Cluster::start(&Shape::etcd(1).program(etcd)).await;
    let client = cluster.client();
    let lease = live(&client).await;
    let file = cluster.folder().join("saved.db");
    save(&client, &file).await;
    let revision = newest(&client).await;
    let before = everything(&client, revision).await;

    let path = file.display().to_string();
    let ours = holdfast(&["snapshot", "status", &path].map(str::to_owned));
    let asked = ["snapshot", "status", &path].map(str::to_owned);
    let theirs = tokio::task::block_in_place(|| run(&etcdctl, &asked, "", LIMIT));
    assert_eq!(ours.out(), theirs.out(), "{} {}", ours.err(), theirs.err());
    for form in ["json", "table", "fields"] {
        let with = |words: [&str; 3]| [words.map(str::to_owned).as_slice(), &[format!("--write-out={form}")]].concat();
        let ours = holdfast(&with(["snapshot", "status", &path]));
        let theirs = tokio::task::block_in_place(|| run(&etcdctl, &with(["snapshot", "status", &path]), "", LIMIT));
        let same = |said: String| said.replace(",\"version\":\"\"", "");
        assert_eq!(ours.out().trim(), same(theirs.out()).trim(), "{form}");
    }
    is_all_there(&file, lease, before, revision).await;
}

/// Authentication that was on is on, and nobody's old token counts, nor one that nobody signed.
pub async fn asks_for_passwords() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    client.put("key/1", "1").await.expect("put");
    client.user_add("root", Some("root-password")).await.expect("user");
    client.user_grant_role("root", "root").await.expect("granted");
    let file = cluster.folder().join("saved.db");
    client.auth_enable().await.expect("enabled");
    let root = client_as(&cluster, 0, "root", "root-password");
    save(&root, &file).await;
    let cluster = restored(&file);
    let nobody = cluster.client();
    until(LIMIT, "an answer of the restored cluster", || async {
        let refused = nobody.get("key/1").await.expect_err("nobody may").to_string();
        if refused.contains("user name is empty") { Ok(()) } else { Err(refused) }
    })
    .await;
    for index in 0..cluster.len() {
        client_as(&cluster, index, "root", "another").get("key/1").await.expect_err("it is not the password");
    }
    let root = client_as(&cluster, 0, "root", "root-password");
    assert_eq!(root.get("key/1").await.expect("root may").count, 1);
    root.put("key/1", "2").await.expect("root may");
}

/// Each ends in words, and takes nothing away.
pub async fn refuses_in_words() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    cluster.client().put("key/1", "1").await.expect("put");
    let file = cluster.folder().join("saved.db");
    save(&cluster.client(), &file).await;
    let mut target = Cluster::lay_out(&Shape::holdfast(2));
    let data_dir = target.data_dir(0).to_owned();
    let expect = |args: &[String], words: &str| {
        let ran = holdfast(args);
        assert!(ran.code != Some(0) && ran.err().contains(words), "{words:?}: {} {}", ran.out(), ran.err());
    };
    let changed = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = cluster.folder().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let good = std::fs::read(&file).expect("the file");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let cut = &good[..good.len() - 4096 - 32];
    expect(&restore_args(&changed("cut", &good[..good.len() - 5]), &target, 0), "which no snapshot has");
    expect(&restore_args(&changed("bare", &good[..good.len() - 32]), &target, 0), "--skip-hash-check");
    let skip = |args: Vec<String>| [args, vec!["--skip-hash-check".to_owned()]].concat();
    expect(&skip(restore_args(&changed("short", cut), &target, 0)), "ends early");
    expect(&restore_args(&changed("flipped", &flipped), &target, 0), "does not match the digest");
    expect(&restore_args(&changed("text", &b"words ".repeat(512)), &target, 0), "no database of etcd's");
    expect(&restore_args(Path::new("/nowhere/saved.db"), &target, 0), "/nowhere/saved.db");
    let bump = |more: &str| [restore_args(&file, &target, 0), vec![more.to_owned()]].concat();
    expect(&bump("--bump-revision=5"), "--mark-compacted");
    expect(&bump("--mark-compacted"), "--bump-revision");
    expect(&bump("--name=n9"), "n9");
    assert!(!data_dir.exists(), "a refused restore left something");

    std::fs::create_dir_all(&data_dir).expect("a directory");
    std::fs::write(data_dir.join("precious"), "1").expect("a file");
    expect(&restore_args(&file, &target, 0), "is not empty");
    assert!(data_dir.join("precious").exists());
    std::fs::remove_file(data_dir.join("precious")).expect("removed");
    // An empty directory may be there, such as one that something is mounted on by the next start.
    assert_eq!(holdfast(&restore_args(&file, &target, 0)).code, Some(0));
    expect(&restore_args(&file, &target, 0), "is not empty");

    // The second member was restored from another file: it is of another cluster, and one of the two says so.
    cluster.client().put("key/2", "2").await.expect("put");
    let other = cluster.folder().join("other.db");
    save(&cluster.client(), &other).await;
    assert_eq!(holdfast(&restore_args(&other, &target, 1)).code, Some(0));
    target.spawn(0);
    target.spawn(1);
    // Whoever asks first is told, and ends; the other one then waits for somebody of its own.
    let begun = std::time::Instant::now();
    while (0..2).all(|index| target.is_running(index)) {
        assert!(begun.elapsed() < LIMIT, "{}\n{}", target.logs(0), target.logs(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = (0..2).any(|index| target.said(index).contains("belongs to cluster"));
    assert!(told, "{}\n{}", target.logs(0), target.logs(1));
}
