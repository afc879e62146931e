//! Leases: their life, and the news of their end.

use std::time::Duration;

use holdfast_client::{AttachedKeys, Code, Error, Options};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_lease_from_grant_to_revocation() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let lease = client.lease_grant_as(0x1234, 60).await.expect("grant");
    assert_eq!((lease.id, lease.ttl), (0x1234, 60));
    let again = client.lease_grant_as(0x1234, 60).await.expect_err("taken");
    assert_eq!(again.message(), "etcdserver: lease already exists");

    client.put("mine", "1").lease(lease.id).await.expect("put");
    client.put("other", "1").await.expect("put");
    client.lease_attach(lease.id, "other").await.expect("attach");
    let told = client.lease_time_to_live(lease.id, AttachedKeys::List).await.expect("ttl");
    assert_eq!((told.granted_ttl, told.keys.len()), (60, 2));
    assert_eq!(client.leases().await.expect("list").leases.len(), 1);
    assert_eq!(client.lease_keep_alive_once(lease.id).await.expect("renewed").ttl, 60);

    client.lease_revoke(lease.id).await.expect("revoke");
    assert_eq!(client.get("").prefix().await.expect("get").count, 0, "its keys went with it");
    assert_eq!(client.lease_time_to_live(lease.id, AttachedKeys::Skip).await.expect("ttl").ttl, -1);
    let gone = client.lease_revoke(lease.id).await.expect_err("gone");
    assert!(matches!(gone, Error::Refused { code: Code::NotFound, .. }), "{gone:?}");
    assert!(matches!(client.lease_keep_alive_once(lease.id).await, Err(Error::LeaseGone { id: 0x1234 })));
    assert!(matches!(client.lease_keep_alive(lease.id).await, Err(Error::LeaseGone { .. })));
}

#[tokio::test]
async fn a_kept_lease_outlives_its_time_and_its_loss_is_told() {
    let Some(cluster) = Cluster::start(1).await else { return };
    let client = cluster.client(Options::default());
    let lease = client.lease_grant(2).await.expect("grant");
    let mut keeper = client.lease_keep_alive(lease.id).await.expect("kept");
    let beats = lease.ttl * 3 + 2;
    for _ in 0..beats {
        assert_eq!(keeper.renewed().await.expect("renewed").ttl, lease.ttl);
        assert!(keeper.remaining() > Duration::ZERO);
    }
    // Longer than its time has passed by now: a renewal comes every third of it, the first at once.
    client.lease_revoke(lease.id).await.expect("still there");
    assert!(matches!(keeper.lost().await, Error::LeaseGone { .. }));
    assert_eq!(keeper.remaining(), Duration::ZERO);
    assert!(matches!(keeper.renewed().await, Err(Error::LeaseGone { .. })));
}
