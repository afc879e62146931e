//! What an operator can get wrong, and what a disk can: each ends in a clear message, and nothing acknowledged is lost.

#![cfg(not(madsim))]

mod auth;
mod denied;
mod full;
mod jwt;
mod learners;
mod refused;
mod room;
mod rotten;
mod strangers;

use std::net::TcpListener;

use holdfast_jepsen::world::process::{Cluster, Shape};

/// One node that took some writes and was stopped.
async fn stopped_node(writes: usize) -> Cluster {
    let mut cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    for number in 0..writes {
        client.put(format!("key/{number}"), format!("value/{number}")).await.expect("a write is acknowledged");
    }
    cluster.kill9(0);
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_on_every_member_and_no_secret_is_told() {
    auth::in_a_cluster().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_web_token_is_good_on_every_member_until_its_time_is_over() {
    jwt::on_every_member().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_name_the_flag_and_what_is_expected() {
    refused::wrong_settings();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_in_the_file_is_named() {
    refused::unknown_key();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    refused::port_in_use(taken.local_addr().expect("a bound port has an address").port());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_the_data_directory_is_named() {
    refused::file_as_data_dir();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_of_another_node_is_refused() {
    refused::data_of_another(stopped_node(3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_too_large_request_is_refused_and_the_next_one_served() {
    refused::too_large().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_identity_stops_the_start() {
    rotten::identity(stopped_node(3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_stops_the_start() {
    rotten::log_gone(stopped_node(3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_damaged_votes_stop_the_start() {
    rotten::both_votes(stopped_node(3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_vote_is_rebuilt() {
    rotten::one_vote(stopped_node(3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_entry_is_named_and_never_truncated() {
    rotten::entry().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_may_not_be_read_is_named() {
    denied::story(stopped_node(3).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_id_is_refused_and_changes_nothing() {
    strangers::another_token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_member_with_another_token_is_refused() {
    strangers::emptied_with_another_token().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_adopts_a_member_of_another_harms_neither() {
    strangers::adopted_by_another_cluster().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_writes_come_back() {
    full::story().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossed_quota_refuses_growth_until_there_is_room() {
    room::ends_by_itself().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_raised_by_hand_ends_by_hand() {
    room::by_hand_stays().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_in_sync_becomes_a_voter_where_asked() {
    learners::promoted_where_asked().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_stays_one_where_nobody_asked() {
    learners::left_alone_otherwise().await;
}
