//! A crowd before one lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use holdfast_jepsen::world::process::{Cluster, Shape};

use crate::stubs::{LONG_TTL_S, Stubs, created, lease, queue_of};

const WAITERS: usize = 1000;
/// A server lets one connection have so many calls at once, or more.
const CALLS_ON_A_CONNECTION: usize = 100;

/// What all waiters look at when they hold the lock.
#[derive(Default)]
struct Door {
    inside: AtomicUsize,
    passed: AtomicUsize,
    newest: AtomicI64,
}

/// Each waits for the one before it. If everybody were woken by every end, this would take a thousand times as many
/// looks at the queue, and minutes.
pub async fn thousand_waiters() {
    let cluster = Cluster::start(&Shape::from_env(3)).await;
    let client = cluster.client();
    let first = Stubs::of(&cluster, 0).await;
    let holder = lease(&client, LONG_TTL_S).await;
    let held = first.acquire("crowd", holder).await.expect("locked").into_inner();

    let door = Arc::new(Door::default());
    let mut crowd = Vec::new();
    for group in 0..WAITERS / CALLS_ON_A_CONNECTION {
        let stubs = Stubs::of(&cluster, group % 3).await;
        for _ in 0..CALLS_ON_A_CONNECTION {
            let (client, stubs, door) = (client.clone(), stubs.clone(), Arc::clone(&door));
            crowd.push(tokio::spawn(async move {
                let own = lease(&client, LONG_TTL_S).await;
                let held = stubs.acquire("crowd", own).await.expect("its turn comes").into_inner();
                assert_eq!(door.inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                let token = created(&client, &held.key).await;
                assert!(door.newest.swap(token, Ordering::SeqCst) < token, "out of turn");
                door.passed.fetch_add(1, Ordering::SeqCst);
                door.inside.fetch_sub(1, Ordering::SeqCst);
                stubs.release(&held.key).await.expect("unlocked");
            }));
        }
    }
    queue_of(&client, "crowd", WAITERS as i64 + 1).await;
    let begun = Instant::now();
    first.release(&held.key).await.expect("unlocked");
    for waiter in crowd {
        waiter.await.expect("no panic");
    }
    assert_eq!(door.passed.load(Ordering::SeqCst), WAITERS);
    let ms = begun.elapsed().as_millis();
    println!("{WAITERS} waiters had the lock one after another in {ms} ms");
    queue_of(&client, "crowd", 0).await;
}
