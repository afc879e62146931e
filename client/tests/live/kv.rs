//! Keys, transactions, members and maintenance, as a user would try them first.

use holdfast_client::proto::etcdserverpb::response_op::Response;
use holdfast_client::{Client, Code, Compare, Delete, Error, Get, Options, Order, Put, SortBy, Txn};

use crate::cluster::Cluster;

#[tokio::test]
async fn put_get_delete() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    for (key, value) in [("a", "3"), ("b/1", "2"), ("b/2", "1"), ("c", "0")] {
        client.put(key, value).await.expect("put");
    }
    let before = client.put("a", "4").prev_kv().await.expect("put").prev_kv.expect("it existed");
    assert_eq!((before.value.as_ref(), before.version), (b"3".as_ref(), 1));

    let keys = |answer: holdfast_client::proto::etcdserverpb::RangeResponse| -> Vec<String> {
        answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    };
    assert_eq!(keys(client.get("b/").prefix().await.expect("get")), ["b/1", "b/2"]);
    assert_eq!(keys(client.get("b").onward().await.expect("get")), ["b/1", "b/2", "c"]);
    assert_eq!(keys(client.get("a").range("b/2").await.expect("get")), ["a", "b/1"]);
    assert_eq!(keys(client.get("").prefix().await.expect("get")), ["a", "b/1", "b/2", "c"]);
    let by_value = client.get("").prefix().sort(SortBy::Value, Order::Descending).limit(2).keys_only();
    let answer = by_value.await.expect("get");
    assert!(answer.more && answer.count == 4 && answer.kvs.iter().all(|kv| kv.value.is_empty()));
    assert_eq!(keys(answer), ["a", "b/1"]);
    assert_eq!(client.get("").prefix().count_only().await.expect("get").count, 4);
    let past = client.get("a").revision(2).serializable().await.expect("get");
    assert_eq!(past.kvs[0].value, "3");
    let recent = client.get("").prefix().min_mod_revision(5).await.expect("get");
    assert_eq!(keys(recent), ["a", "c"]);

    let deleted = client.delete("b").prefix().prev_kv().await.expect("delete");
    assert_eq!((deleted.deleted, deleted.prev_kvs.len()), (2, 2));

    let now = client.get("a").await.expect("get").header.expect("header").revision;
    client.compact(now).physical().await.expect("compact");
    let error = client.get("a").revision(2).await.expect_err("compacted");
    assert!(matches!(error, Error::Refused { code: Code::OutOfRange, .. }), "{error:?}");
    assert_eq!(error.message(), "etcdserver: mvcc: required revision has been compacted");
}

#[tokio::test]
async fn transactions_nest() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let claim = || {
        client
            .txn()
            .when(Compare::missing("lock"))
            .then(Put::new("lock", "mine"))
            .then(Get::new("lock"))
            .otherwise(Txn::new().when(Compare::value("lock").equal("mine")).then(Delete::new("lock")))
    };
    let first = claim().await.expect("txn");
    assert!(first.succeeded);
    let Some(Response::ResponseRange(read)) = &first.responses[1].response else { panic!("{first:?}") };
    assert_eq!(read.kvs[0].value, "mine", "it reads its own write");

    let second = claim().await.expect("txn");
    assert!(!second.succeeded);
    let Some(Response::ResponseTxn(inner)) = &second.responses[0].response else { panic!("{second:?}") };
    assert!(inner.succeeded);
    assert_eq!(client.get("lock").await.expect("get").count, 0);
}

#[tokio::test]
async fn members_status_and_the_snapshot() {
    let Some(cluster) = Cluster::start(3).await else { return };
    let client = cluster.client(Options::default());
    client.put("k", "v").await.expect("put");

    let members = client.member_list().await.expect("list").members;
    assert_eq!(members.len(), 3);
    let mut synced = client.sync_endpoints().await.expect("sync");
    synced.sort();
    let mut given = cluster.endpoints();
    given.sort();
    assert_eq!(synced, given, "known ones keep the names they were given");
    let lonely = Client::connect([&cluster.members[0].endpoint], Options::default()).expect("options");
    assert_eq!(lonely.sync_endpoints().await.expect("sync").len(), 3);
    let every = Options { sync_members_every: Some(std::time::Duration::from_millis(50)), ..Options::default() };
    let following = Client::connect([&cluster.members[0].endpoint], every).expect("options");
    while following.endpoints().len() < 3 {
        following.get("k").await.expect("get");
    }

    let leader = cluster.leader(&client).await;
    let status = client.status(&cluster.members[leader].endpoint).await.expect("status");
    assert_eq!(status.leader, status.header.expect("header").member_id);

    let target = members.iter().find(|member| member.id != status.leader).expect("three").id;
    client.move_leader(target).await.expect("moved");
    assert_eq!(client.find_leader().await, Some(target));

    let revision = client.put("k", "w").await.expect("put").header.expect("header").revision;
    let mut hashes = Vec::new();
    for endpoint in cluster.endpoints() {
        // A read through each member makes sure that it has applied the write.
        cluster.client(Options::default()).get("k").await.expect("get");
        let own = Client::connect([&endpoint], Options::default()).expect("options");
        own.get("k").await.expect("get");
        hashes.push(client.hash_kv(&endpoint, revision).await.expect("hash").hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");

    let mut file = Vec::new();
    let saved = client.snapshot(&cluster.members[0].endpoint, &mut file).await.expect("snapshot");
    assert_eq!(saved.bytes, file.len() as u64);
    assert_eq!(file[file.len() - 32..], saved.sha256);
    client.defragment(&cluster.members[0].endpoint).await.expect("defragment");
    assert!(client.alarms().await.expect("alarms").alarms.is_empty());
}

/// A member that handed a write to the leader has it in its own state before it answers, as etcd's members do.
#[tokio::test]
async fn what_was_written_through_a_member_is_in_its_state() {
    let Some(cluster) = Cluster::start(3).await else { return };
    for member in &cluster.members {
        let client = Client::connect([&member.endpoint], Options::default()).expect("options");
        for n in 0..100 {
            let value = n.to_string();
            client.put("own", value.as_str()).await.expect("put");
            let seen = client.get("own").serializable().await.expect("get");
            assert_eq!(seen.kvs[0].value, value, "through {}", member.endpoint);
        }
    }
}
