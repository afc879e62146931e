//! Watches: what they deliver, and how they end.

use futures::StreamExt;
use holdfast_client::proto::mvccpb::Event;
use holdfast_client::proto::mvccpb::event::EventType;
use holdfast_client::{Error, Options, Put, Update, Watch};

use crate::cluster::Cluster;

async fn next_events(watch: &mut Watch) -> Vec<Event> {
    loop {
        match watch.next().await.expect("goes on").expect("update") {
            Update::Events { events, .. } => return events,
            Update::Progress { .. } => {}
        }
    }
}

#[tokio::test]
async fn a_watch_from_now_delivers_what_comes_after_it_was_created() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let before = client.put("k/0", "old").await.expect("put").header.expect("header").revision;
    let mut watch = client.watch("k/").prefix().prev_kv().await.expect("watch");
    assert_eq!(watch.start_revision(), before + 1);

    client.put("elsewhere", "x").await.expect("put");
    client.txn().then(Put::new("k/1", "one")).then(Put::new("k/2", "two")).await.expect("txn");
    client.put("k/1", "uno").await.expect("put");
    client.delete("k/1").await.expect("delete");

    let mut events = Vec::new();
    while events.len() < 4 {
        events.extend(next_events(&mut watch).await);
    }
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let kv = event.kv.as_ref().expect("kv");
            let previous = event.prev_kv.as_ref().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            (event.r#type(), String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision - before, previous)
        })
        .collect();
    assert_eq!(
        told,
        [
            (EventType::Put, "k/1".to_owned(), 2, None),
            (EventType::Put, "k/2".to_owned(), 2, None),
            (EventType::Put, "k/1".to_owned(), 3, Some("one".to_owned())),
            (EventType::Delete, "k/1".to_owned(), 4, Some("uno".to_owned())),
        ]
    );
}

#[tokio::test]
async fn a_watch_from_the_past_and_its_filters() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let first = client.put("k", "1").await.expect("put").header.expect("header").revision;
    client.delete("k").await.expect("delete");
    client.put("k", "2").await.expect("put");

    let mut puts = client.watch("k").start_revision(first).without_deletes().await.expect("watch");
    let mut deletes = client.watch("k").start_revision(first).without_puts().await.expect("watch");
    let mut seen = next_events(&mut puts).await;
    while seen.len() < 2 {
        seen.extend(next_events(&mut puts).await);
    }
    assert!(seen.iter().all(|event| event.r#type() == EventType::Put));
    let seen = next_events(&mut deletes).await;
    assert!(seen.len() == 1 && seen[0].r#type() == EventType::Delete);
}

#[tokio::test]
async fn a_watch_of_compacted_history_says_where_history_begins() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    for n in 0..5 {
        client.put("k", n.to_string()).await.expect("put");
    }
    client.compact(4).await.expect("compact");
    let mut watch = client.watch("k").start_revision(2).await.expect("created before it is canceled");
    let end = watch.next().await.expect("an item");
    assert!(matches!(end, Err(Error::Compacted { compact_revision: 4 })), "{end:?}");
    assert!(watch.next().await.is_none(), "the error is the last item");

    let mut watch = client.watch("k").start_revision(4).await.expect("watch");
    assert_eq!(next_events(&mut watch).await[0].kv.as_ref().expect("kv").value, "2");
}

#[tokio::test]
async fn progress_can_be_asked_for() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let mut watch = client.watch("k").await.expect("watch");
    let revision = client.put("other", "1").await.expect("put").header.expect("header").revision;
    let told = loop {
        // The server answers only when all watches are level with the store: a question may be passed over.
        watch.request_progress();
        let patience = std::time::Duration::from_millis(300);
        if let Ok(Some(update)) = tokio::time::timeout(patience, watch.next()).await {
            let Update::Progress { header } = update.expect("update") else { panic!("nothing happened to k") };
            break header.revision;
        }
    };
    assert_eq!(told, revision);
}

#[tokio::test]
async fn a_revision_too_large_for_one_message_arrives_whole() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    for n in 0..40 {
        client.put(format!("big/{n:02}"), vec![b'x'; 100 * 1024]).await.expect("put");
    }
    let start = client.get("big").await.expect("get").header.expect("header").revision + 1;
    let deleted = client.delete("big/").prefix().await.expect("delete").deleted;
    assert_eq!(deleted, 40);
    // 4 MB of previous values in one revision, where a server cuts messages at 1.5 MiB.
    let mut watch = client.watch("big/").prefix().prev_kv().start_revision(start).await.expect("watch");
    let events = next_events(&mut watch).await;
    assert_eq!(events.len(), 40);
    assert!(events.iter().all(|event| event.prev_kv.as_ref().is_some_and(|kv| kv.value.len() == 100 * 1024)));
}
