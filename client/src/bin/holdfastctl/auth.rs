//! `auth`, `user`, `role`: who may do what.

use holdfast_client::proto::authpb::Permission;
use holdfast_client::{Access, PermittedKeys, prefix_end};

use crate::Session;
use crate::args::{AuthCommand, RangeArgs, RoleCommand, UserCommand, bytes};
use crate::failure::Failure;
use crate::input;
use crate::output::{Said, ToJson};

pub(crate) async fn auth(session: &Session, command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Enable => {
            let answer = session.client.auth_enable().await?;
            say(session, "Authentication Enabled", &answer)
        }
        AuthCommand::Disable => {
            let answer = session.client.auth_disable().await?;
            say(session, "Authentication Disabled", &answer)
        }
        AuthCommand::Status => {
            let status = session.client.auth_status().await?;
            let (enabled, revision) = (status.enabled, status.auth_revision);
            say(session, &format!("Authentication Status: {enabled}\nAuthRevision: {revision}"), &status)
        }
    }
}

pub(crate) async fn user(session: &Session, command: UserCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        UserCommand::Add { user, no_password: true } => {
            let answer = client.user_add(&user, None).await?;
            say(session, &format!("User {user} created"), &answer)
        }
        UserCommand::Add { user, no_password: false } => {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name.to_owned(), password.to_owned()),
                None => (user.clone(), new_password(&user)?),
            };
            let answer = client.user_add(&name, Some(&password)).await?;
            say(session, &format!("User {name} created"), &answer)
        }
        UserCommand::Get { user } => {
            let answer = client.user_get(&user).await?;
            let shown: String = answer.roles.iter().map(|role| format!(" {role}")).collect();
            say(session, &format!("User: {user}\nRoles:{shown}"), &answer)
        }
        UserCommand::List => {
            let answer = client.user_list().await?;
            say(session, &answer.users.join("\n"), &answer)
        }
        UserCommand::Delete { user } => {
            let answer = client.user_delete(&user).await?;
            say(session, &format!("User {user} deleted"), &answer)
        }
        UserCommand::Passwd { user } => {
            let answer = client.user_change_password(&user, &new_password(&user)?).await?;
            say(session, "Password updated", &answer)
        }
        UserCommand::GrantRole { user, role } => {
            let answer = client.user_grant_role(&user, &role).await?;
            say(session, &format!("Role {role} is granted to user {user}"), &answer)
        }
        UserCommand::RevokeRole { user, role } => {
            let answer = client.user_revoke_role(&user, &role).await?;
            say(session, &format!("Role {role} is revoked from user {user}"), &answer)
        }
    }
}

pub(crate) async fn role(session: &Session, command: RoleCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        RoleCommand::Add { role } => {
            let answer = client.role_add(&role).await?;
            say(session, &format!("Role {role} created"), &answer)
        }
        RoleCommand::Get { role } => {
            let answer = client.role_get(&role).await?;
            say(session, &permissions(&role, &answer.perm), &answer)
        }
        RoleCommand::List => {
            let answer = client.role_list().await?;
            say(session, &answer.roles.join("\n"), &answer)
        }
        RoleCommand::Delete { role } => {
            let answer = client.role_delete(&role).await?;
            say(session, &format!("Role {role} deleted"), &answer)
        }
        RoleCommand::GrantPermission { role, access, range } => {
            let access = match access.as_str() {
                "read" => Access::Read,
                "write" => Access::Write,
                _ => Access::Readwrite,
            };
            let answer = client.role_grant_permission(&role, access, keys(range)).await?;
            say(session, &format!("Role {role} updated"), &answer)
        }
        RoleCommand::RevokePermission { role, range } => {
            let what = revoked(&range);
            let answer = client.role_revoke_permission(&role, keys(range)).await?;
            say(session, &format!("Permission of {what} is revoked from role {role}"), &answer)
        }
    }
}

fn say(session: &Session, text: &str, answer: &impl ToJson) -> Result<(), Failure> {
    session.printer.show(&Said { text, answer })
}

fn new_password(user: &str) -> Result<String, Failure> {
    let password = input::password(&format!("Password of {user}: "));
    let password = password.map_err(|error| Failure::file("cannot read the password", &error))?;
    if password.is_empty() { Err(Failure::args("empty password")) } else { Ok(password) }
}

fn keys(range: RangeArgs) -> PermittedKeys {
    let key = bytes(range.key);
    match range.range_end {
        _ if range.prefix => PermittedKeys::prefix(key),
        _ if range.from_key => PermittedKeys::from_key(key),
        Some(end) => PermittedKeys::range(key, bytes(end)),
        None => PermittedKeys::key(key),
    }
}

fn revoked(range: &RangeArgs) -> String {
    let key = range.key.to_string_lossy();
    match &range.range_end {
        _ if range.prefix => {
            let prefix = bytes(range.key.clone());
            format!("range [{key}, {})", String::from_utf8_lossy(&prefix_end(&prefix)))
        }
        _ if range.from_key => format!("range [{key}, <open ended>"),
        Some(end) => format!("range [{key}, {})", end.to_string_lossy()),
        None => format!("key {key}"),
    }
}

/// What may be read, then what may be written.
fn permissions(role: &str, all: &[Permission]) -> String {
    let mut text = format!("Role {role}");
    for (title, other) in [("KV Read:", Access::Write), ("KV Write:", Access::Read)] {
        text.push_str(&format!("\n{title}"));
        for one in all.iter().filter(|one| one.perm_type() != other) {
            text.push_str(&format!("\n\t{}", shown(one)));
        }
    }
    text
}

fn shown(one: &Permission) -> String {
    let (key, end) = (String::from_utf8_lossy(&one.key), String::from_utf8_lossy(&one.range_end));
    match one.range_end.as_ref() {
        [] => key.into_owned(),
        [0] => format!("[{key}, <open ended>"),
        range_end if range_end == prefix_end(&one.key) => format!("[{key}, {end}) (prefix {key})"),
        _ => format!("[{key}, {end})"),
    }
}
