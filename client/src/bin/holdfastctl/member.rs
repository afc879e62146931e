//! `member`: list, add, remove, update, promote.

use holdfast_client::JoinAs;

use crate::Session;
use crate::args::MemberCommand;
use crate::failure::Failure;
use crate::output::{MemberAdded, MemberChange, MemberChanged};

pub(crate) async fn member(session: &Session, command: MemberCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        MemberCommand::List => session.printer.show(&client.member_list().await?),
        MemberCommand::Add { name, peer_urls, learner } => {
            let role = if learner { JoinAs::Learner } else { JoinAs::Voter };
            let answer = client.member_add(peer_urls, role).await?;
            session.printer.show(&MemberAdded { name, answer })
        }
        MemberCommand::Remove { id } => {
            let id = member_id(&id)?;
            let answer = client.member_remove(id).await?;
            let change = MemberChange::Removed;
            session.printer.show(&MemberChanged { id, change, header: answer.header, members: answer.members })
        }
        MemberCommand::Update { id, peer_urls } => {
            let id = member_id(&id)?;
            let answer = client.member_update(id, peer_urls).await?;
            let change = MemberChange::Updated;
            session.printer.show(&MemberChanged { id, change, header: answer.header, members: answer.members })
        }
        MemberCommand::Promote { id } => {
            let id = member_id(&id)?;
            let answer = client.member_promote(id).await?;
            let change = MemberChange::Promoted;
            session.printer.show(&MemberChanged { id, change, header: answer.header, members: answer.members })
        }
    }
}

/// A member's id as it is shown: hexadecimal.
pub(crate) fn member_id(typed: &str) -> Result<u64, Failure> {
    u64::from_str_radix(typed, 16)
        .map_err(|_| Failure::args(format!("bad member ID arg {typed:?}, expecting ID in Hex; see `member list`")))
}
