//! A leader whose disk hangs.

use std::time::Duration;

use holdfast_node::rt::nemesis;

use super::story::{Acked, check_everything, put_many, put_without};
use super::{Cluster, ClusterOptions, Trace};
use crate::world::NodeIndex;

/// Each call to the disk takes a fifth of this at least.
const HANG: Duration = Duration::from_secs(60);
/// What may pass until writes are back and another member leads.
const OUTAGE_MAX: Duration = Duration::from_secs(3);
/// What a disk takes when nobody meddles with it.
const USUAL_PAUSE: Duration = Duration::from_micros(1500);

fn heal_disk(cluster: &Cluster, index: NodeIndex) {
    nemesis::set_blocking_pause(cluster.machine_id(index), USUAL_PAUSE);
}

/// The leader's disk hangs. Writes through the others go on, another member leads within three seconds, and leadership
/// stays there. When the disk answers again, the member catches up.
pub async fn hung_disk(trace: Trace) {
    let cluster = Cluster::start(&ClusterOptions::default(), trace.clone());
    let mut acked = Acked::new();
    let hung = cluster.wait_leader(None).await;
    put_many(&cluster, 0..30, &mut acked).await;

    nemesis::set_blocking_pause(cluster.machine_id(hung), HANG);
    trace.say(format!("the disk of the leader, n{}, hangs", hung + 1));
    let begun = madsim::time::Instant::now();
    let leads = async {
        let next = madsim::time::timeout(OUTAGE_MAX, cluster.wait_leader(Some(hung))).await;
        let next = next.expect("nobody else led in time");
        trace.say(format!("n{} leads after {:?}", next + 1, begun.elapsed()));
        next
    };
    let writes = async {
        for number in 30..60 {
            let asked = madsim::time::Instant::now();
            put_without(&cluster, hung, number..number + 1, &mut acked).await;
            assert!(asked.elapsed() < OUTAGE_MAX, "a write took {:?}", asked.elapsed());
            madsim::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (next, ()) = futures::join!(leads, writes);
    put_without(&cluster, hung, 60..80, &mut acked).await;

    heal_disk(&cluster, hung);
    madsim::time::sleep(HANG).await;
    assert_eq!(cluster.leader(), Some(next), "leadership did not stay");
    put_many(&cluster, 80..100, &mut acked).await;
    check_everything(&cluster, &trace, &acked).await;
}
