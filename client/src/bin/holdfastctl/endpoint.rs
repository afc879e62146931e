//! `endpoint`: each member on its own: status, health, hash.

use std::time::Instant;

use futures::future::join_all;
use holdfast_client::{Client, Code, Error};

use crate::Session;
use crate::args::{EndpointArgs, EndpointCommand};
use crate::failure::Failure;
use crate::output::{EndpointHash, EndpointHealth, EndpointStatus, go};

pub(crate) async fn endpoint(session: &Session, args: EndpointArgs) -> Result<(), Failure> {
    let endpoints = if args.cluster.cluster { members(session).await? } else { session.endpoints.clone() };
    match args.command {
        EndpointCommand::Status => status(session, &endpoints).await,
        EndpointCommand::Health => health(session, &endpoints).await,
        EndpointCommand::Hashkv { rev } => hash_kv(session, &endpoints, rev).await,
    }
}

/// Where the members serve, each by all its addresses.
pub(crate) async fn members(session: &Session) -> Result<Vec<String>, Failure> {
    let list = session.client.member_list().await?;
    Ok(list.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

async fn status(session: &Session, endpoints: &[String]) -> Result<(), Failure> {
    let answers = join_all(endpoints.iter().map(|endpoint| session.client.status(endpoint))).await;
    let mut known = Vec::new();
    let mut failed = Ok(());
    for (endpoint, answer) in endpoints.iter().zip(answers) {
        match answer {
            Ok(status) => known.push(EndpointStatus { endpoint: endpoint.clone(), status }),
            Err(error) => {
                eprintln!("Failed to get the status of endpoint {endpoint} ({error})");
                failed = Err(Failure::error("not every endpoint told its status"));
            }
        }
    }
    session.printer.show(&known)?;
    failed
}

async fn health(session: &Session, endpoints: &[String]) -> Result<(), Failure> {
    let clients: Result<Vec<Client>, Failure> = endpoints.iter().map(|one| session.client_of(one)).collect();
    let results = join_all(clients?.into_iter().zip(endpoints).map(|(client, endpoint)| async move {
        let begun = Instant::now();
        // Any linearizable read proves a quorum; the key need not exist, and need not be readable for this user.
        let error = match client.get("health").await {
            Ok(_) => None,
            Err(Error::Refused { code: Code::PermissionDenied, .. }) => None,
            Err(error) => Some(error.to_string()),
        };
        EndpointHealth { endpoint: endpoint.clone(), took: go::duration(begun.elapsed()), error }
    }))
    .await;
    let unhealthy = results.iter().any(|result| result.error.is_some());
    session.printer.show(&results)?;
    if unhealthy { Err(Failure::error("unhealthy cluster")) } else { Ok(()) }
}

async fn hash_kv(session: &Session, endpoints: &[String], revision: i64) -> Result<(), Failure> {
    let answers = join_all(endpoints.iter().map(|endpoint| session.client.hash_kv(endpoint, revision))).await;
    let mut known = Vec::new();
    let mut failed = Ok(());
    for (endpoint, answer) in endpoints.iter().zip(answers) {
        match answer {
            Ok(hash) => known.push(EndpointHash { endpoint: endpoint.clone(), hash }),
            Err(error) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({error})");
                failed = Err(Failure::error("not every endpoint told its hash"));
            }
        }
    }
    session.printer.show(&known)?;
    failed
}
