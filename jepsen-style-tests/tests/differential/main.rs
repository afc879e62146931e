//! A short run of the differential test; `make differential` is the long one. Skipped, aloud, without an etcd 3.5.
//!
//! HOLDFAST_SEED and HOLDFAST_DIFF_REQUESTS choose another seed and another length.

#![cfg(not(madsim))]

use holdfast_jepsen::differential::{Options, Report, reference, run};

const REQUESTS: u64 = 3_000;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holdfast_answers_as_etcd_does() {
    compared_from(number("HOLDFAST_SEED", 1)).await;
}

/// Every third seed is with authentication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holdfast_answers_users_as_etcd_does() {
    compared_from(2).await;
}

async fn compared_from(seed: u64) {
    let etcd = match reference() {
        Ok(etcd) => etcd,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    let requests = number("HOLDFAST_DIFF_REQUESTS", REQUESTS);
    let options = Options { seed, requests, round: requests, etcd, verbose: false };
    let mut report = Report::default();
    let found = run(&options, &mut report).await;
    println!("{report}");
    if let Err(found) = found {
        panic!("{found}");
    }
}
