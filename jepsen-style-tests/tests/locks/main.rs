//! Locks, elections and guarded writes over real processes.
//!
//! HOLDFAST_JEPSEN_SERVER=etcd runs what etcd can do too on an etcd.

#![cfg(not(madsim))]

mod client;
mod crowd;
mod ctl;
mod election;
mod guards;
mod lock;
mod permitted;
mod stubs;

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_has_one_holder_and_passes_on_in_order() {
    lock::passes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_says_no_in_etcds_words() {
    lock::refusals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_waiting_leaves_the_queue() {
    lock::giving_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_ends_with_its_lease() {
    lock::ends_with_its_lease().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_does_not_notice_a_new_leader() {
    lock::survives_a_leader().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wait_for_one_lock() {
    crowd::thousand_waiters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_has_one_leader_that_all_can_see() {
    election::campaigns().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_says_no_in_etcds_words() {
    election::refusals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_for_those_who_may_read_its_queue() {
    permitted::locks().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_is_for_those_who_may_read_its_queue() {
    permitted::elections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_write_is_refused_once_the_lock_has_moved_on() {
    guards::refused_when_stale().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_in_metadata_works_for_any_client() {
    guards::by_metadata().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_locks_are_told_when_they_are_lost() {
    client::locks_and_guards().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_locks_outlive_a_leader() {
    client::locks_over_a_dead_leader().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_elections_tell_all_who_leads() {
    client::elections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holdfastctl_locks_and_elects_as_etcdctl_does() {
    ctl::lock_and_elect().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holdfastctl_gives_up_what_it_holds_when_it_is_told_to_end() {
    ctl::signals().await;
}
