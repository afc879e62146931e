//! Changes of the leader that nobody should notice: it is stopped in order, or told to hand over.

use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, Disturbance, Findings, Load, Reach, Shape};

use crate::{BREATH, PREFIX, VALUE_BYTES, WRITERS, settle};

fn ms(duration: Duration) -> u128 {
    duration.as_millis()
}

/// The default election timeout: whoever needs an election is silent for longer.
const ELECTION: Duration = Duration::from_millis(400);

/// p50, p99 and the longest. Of fewer than a hundred, p99 is the longest.
fn spread(mut all: Vec<Duration>) -> String {
    all.sort();
    let at = |percent: usize| ms(all[(all.len() * percent).div_ceil(100).saturating_sub(1)]);
    format!("p50 {} ms, p99 {} ms, max {} ms", at(50), at(99), ms(all[all.len() - 1]))
}

/// How long depends on the machine; that no election is waited for does not.
fn expect_handed_over(what: &str, seen: &[Disturbance]) {
    let waited = seen.iter().filter(|seen| seen.silence > ELECTION).count();
    assert!(waited * 2 < seen.len(), "{what}: in {waited} of {} rounds there was an election", seen.len());
}

fn report(what: &str, seen: &[Disturbance], findings: Findings) {
    let of = |part: fn(&Disturbance) -> Duration| seen.iter().map(part).collect::<Vec<_>>();
    println!("{what}: {} rounds; {findings}", seen.len());
    println!("  no write acknowledged to anybody for: {}", spread(of(|seen| seen.silence)));
    println!("  the slowest write of each round:      {}", spread(of(|seen| seen.slowest)));
    println!("  silences in ms: {:?}", of(|seen| seen.silence).into_iter().map(ms).collect::<Vec<_>>());
}

fn expect_none_failed(what: &str, findings: Findings, last_failure: &str) {
    let failed = findings.failed + u64::try_from(findings.unknown).unwrap_or(u64::MAX);
    assert_eq!(failed, 0, "{what}: {failed} requests failed; the last: {last_failure}");
}

/// SIGTERM, again and again, to whoever leads.
pub async fn stopped(rounds: usize) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS, VALUE_BYTES);
    let mut seen = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        load.more(BREATH).await;
        let leader = cluster.wait_leader(None).await;
        load.look_anew();
        cluster.terminate(leader).await;
        load.more(BREATH).await;
        seen.push(load.disturbance());
        cluster.restart(leader).await;
    }
    let last_failure = load.last_failure();
    let findings = settle(&mut cluster, load).await;
    report("leader stopped", &seen, findings);
    expect_handed_over("leader stopped", &seen);
    expect_none_failed("leader stopped", findings, &last_failure);
}

/// Leadership goes round. Half of the writers know all nodes, half know one that stays where it is.
pub async fn moved(rounds: usize) {
    let mut cluster = Cluster::start(&Shape::from_env(3)).await;
    let load = Load::start(&cluster, PREFIX, WRITERS / 2, VALUE_BYTES);
    let fixed = Load::start_reaching(&cluster, Reach::One, "fixed/", WRITERS / 2, VALUE_BYTES);
    let mut seen = Vec::with_capacity(rounds);
    for round in 0..rounds {
        load.more(BREATH).await;
        let leader = cluster.wait_leader(None).await;
        load.look_anew();
        fixed.look_anew();
        cluster.move_leader((leader + 1 + round % 2) % 3).await;
        load.more(BREATH).await;
        fixed.more(BREATH).await;
        seen.extend([load.disturbance(), fixed.disturbance()]);
    }
    let failures = [load.last_failure(), fixed.last_failure()].join(", ");
    let theirs = fixed.stop().await.check(&cluster.client(), "fixed/").await;
    let findings = settle(&mut cluster, load).await;
    report("leadership moved", &seen, findings);
    expect_handed_over("leadership moved", &seen);
    expect_none_failed("leadership moved", findings, &failures);
    expect_none_failed("leadership moved, clients of one node", theirs, &failures);
}
