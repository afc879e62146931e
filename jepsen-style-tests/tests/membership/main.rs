//! Who may take part, from when on, and who may lead: on real processes and real files.

#![cfg(not(madsim))]

mod directory;
mod founding;
mod growing;
mod leading;

use holdfast_jepsen::world::process::{Cluster, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directories_is_refused() {
    directory::in_use(Cluster::start(&Shape::holdfast(1)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_to_no_member_with_a_rotten_log() {
    leading::not_to_a_rotten_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_sends_clients_away() {
    leading::without_a_quorum().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_removed_sends_clients_away() {
    growing::a_removed_member().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_grows_to_two_and_is_answered_at_once() {
    growing::one_to_two().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_found_the_cluster_and_the_third_may_be_late() {
    founding::late().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_without_its_disk_founds_nothing_and_is_refused() {
    founding::lost().await;
}
