//! `lease`: grant, revoke, timetolive, list, keep-alive.

use holdfast_client::{AttachedKeys, Error};

use crate::Session;
use crate::args::LeaseCommand;
use crate::failure::Failure;
use crate::kv::lease_id;
use crate::output::{self, Revoked, TimeToLive};

pub(crate) async fn lease(session: &Session, command: LeaseCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        LeaseCommand::Grant { ttl } => session.printer.show(&client.lease_grant(ttl).await?),
        LeaseCommand::Revoke { id } => {
            let id = lease_id(&id)?;
            let answer = client.lease_revoke(id).await?;
            session.printer.show(&Revoked { id, answer })
        }
        LeaseCommand::Timetolive { id, keys } => {
            let keys = if keys { AttachedKeys::List } else { AttachedKeys::Skip };
            let answer = client.lease_time_to_live(lease_id(&id)?, keys).await?;
            session.printer.show(&TimeToLive { answer, keys })
        }
        LeaseCommand::List => session.printer.show(&client.leases().await?),
        LeaseCommand::KeepAlive { id, once: true } => {
            session.printer.show(&client.lease_keep_alive_once(lease_id(&id)?).await?)
        }
        LeaseCommand::KeepAlive { id, once: false } => keep_alive(session, lease_id(&id)?).await,
    }
}

async fn keep_alive(session: &Session, id: i64) -> Result<(), Failure> {
    let expired = || output::line(&format!("lease {id:016x} expired or revoked."));
    let mut keeper = match session.client.lease_keep_alive(id).await {
        Ok(keeper) => keeper,
        Err(Error::LeaseGone { .. }) => return expired(),
        Err(error) => return Err(error.into()),
    };
    loop {
        match keeper.renewed().await {
            Ok(answer) => session.printer.show(&answer)?,
            Err(Error::LeaseGone { .. }) => return expired(),
            Err(error) => return Err(error.into()),
        }
    }
}
