//! `auth`, `user`, `role`: who may do what.

use holdfast_client::proto::authpb::Permission;
use holdfast_client::{Access, PermittedKeys, prefix_end};

use crate::Session;
use crate::args::{AuthCommand, RangeArgs, RoleCommand, UserCommand, bytes};
use crate::failure::Failure;
use crate::input;
use crate::output::line;

pub(crate) async fn auth(session: &Session, command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Enable => {
            session.client.auth_enable().await?;
            line("Authentication Enabled")
        }
        AuthCommand::Disable => {
            session.client.auth_disable().await?;
            line("Authentication Disabled")
        }
        AuthCommand::Status => {
            let status = session.client.auth_status().await?;
            line(&format!("Authentication Status: {}\nAuthRevision: {}", status.enabled, status.auth_revision))
        }
    }
}

pub(crate) async fn user(session: &Session, command: UserCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        UserCommand::Add { user, no_password: true } => {
            client.user_add(&user, None).await?;
            line(&format!("User {user} created"))
        }
        UserCommand::Add { user, no_password: false } => {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name.to_owned(), password.to_owned()),
                None => (user.clone(), new_password(&user)?),
            };
            client.user_add(&name, Some(&password)).await?;
            line(&format!("User {name} created"))
        }
        UserCommand::Get { user } => {
            let roles = client.user_get(&user).await?.roles;
            let shown: String = roles.iter().map(|role| format!(" {role}")).collect();
            line(&format!("User: {user}\nRoles:{shown}"))
        }
        UserCommand::List => names(&client.user_list().await?.users),
        UserCommand::Delete { user } => {
            client.user_delete(&user).await?;
            line(&format!("User {user} deleted"))
        }
        UserCommand::Passwd { user } => {
            client.user_change_password(&user, &new_password(&user)?).await?;
            line("Password updated")
        }
        UserCommand::GrantRole { user, role } => {
            client.user_grant_role(&user, &role).await?;
            line(&format!("Role {role} is granted to user {user}"))
        }
        UserCommand::RevokeRole { user, role } => {
            client.user_revoke_role(&user, &role).await?;
            line(&format!("Role {role} is revoked from user {user}"))
        }
    }
}

pub(crate) async fn role(session: &Session, command: RoleCommand) -> Result<(), Failure> {
    let client = &session.client;
    match command {
        RoleCommand::Add { role } => {
            client.role_add(&role).await?;
            line(&format!("Role {role} created"))
        }
        RoleCommand::Get { role } => line(&permissions(&role, &client.role_get(&role).await?.perm)),
        RoleCommand::List => names(&client.role_list().await?.roles),
        RoleCommand::Delete { role } => {
            client.role_delete(&role).await?;
            line(&format!("Role {role} deleted"))
        }
        RoleCommand::GrantPermission { role, access, range } => {
            let access = match access.as_str() {
                "read" => Access::Read,
                "write" => Access::Write,
                _ => Access::Readwrite,
            };
            client.role_grant_permission(&role, access, keys(range)).await?;
            line(&format!("Role {role} updated"))
        }
        RoleCommand::RevokePermission { role, range } => {
            let what = revoked(&range);
            client.role_revoke_permission(&role, keys(range)).await?;
            line(&format!("Permission of {what} is revoked from role {role}"))
        }
    }
}

fn new_password(user: &str) -> Result<String, Failure> {
    let password = input::password(&format!("Password of {user}: "));
    let password = password.map_err(|error| Failure::file("cannot read the password", &error))?;
    if password.is_empty() { Err(Failure::args("empty password")) } else { Ok(password) }
}

fn names(names: &[String]) -> Result<(), Failure> {
    names.iter().try_for_each(|name| line(name))
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
