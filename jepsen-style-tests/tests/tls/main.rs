//! TLS, with real processes: who is let in, who is not, and certificates that change under load.

#![cfg(not(madsim))]

mod authority;
mod clients;
mod peers;
mod refused;
mod reload;
mod scene;
mod tools;
mod users;
mod wire;

#[tokio::test(flavor = "multi_thread")]
async fn only_good_certificates_of_clients_are_let_in() {
    clients::only_good_ones().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_its_user() {
    users::by_common_name().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_hosts_are_let_in() {
    clients::only_allowed_hosts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_does_not_talk_to_a_server_that_it_cannot_verify() {
    clients::strange_servers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lines_speak_tls_by_the_script_of_the_handbook() {
    tools::with_the_trial_authority().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_prove_themselves_survive_their_leader() {
    peers::leader_killed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_shows_other_members_what_it_is_told_to() {
    peers::shown_to_others().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_revoked_certificates_counts_as_soon_as_it_is_there() {
    clients::revoked_while_running().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_names_reach_the_peer_port() {
    peers::only_allowed_names().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_make_certificates_for_a_trial() {
    peers::self_signed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_and_certificates_change_under_load() {
    reload::authorities_under_load().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_renewal_changes_nothing_and_is_counted() {
    reload::broken().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_kept_to() {
    wire::versions().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_a_tls_port_is_told_so() {
    wire::plain_http().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_keep_nobody_out() {
    wire::silent_clients().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_stops_the_start_and_is_named() {
    refused::story();
}
