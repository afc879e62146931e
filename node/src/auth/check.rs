//! The question that every request is asked: may this caller have what it needs, as of this view?

use std::sync::Arc;

use bytes::Bytes;
use holdfast_proto::log;

use super::needs::Need;
use super::permissions::Permissions;
use super::rows::{self, AuthState, ROOT, User};
use crate::lease;
use crate::storage::{EngineError, View};
use crate::types::{KeyRange, LeaseId};

/// A user who proved to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: Arc<str>,
    /// The auth revision as of which it was recognised.
    pub auth_revision: u64,
}

/// On whose behalf something is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// A client that did not say who it is.
    #[default]
    Nobody,
    /// A member, for itself.
    Member,
    User(Identity),
}

impl Caller {
    /// The name to show: empty for nobody.
    pub fn name(&self) -> &str {
        match self {
            Caller::Nobody => "",
            Caller::Member => "(member)",
            Caller::User(identity) => &identity.user,
        }
    }

    /// The same caller, however long ago it was recognised.
    #[must_use]
    pub fn at_any_revision(&self) -> Self {
        match self {
            Caller::User(identity) => Caller::User(Identity { auth_revision: u64::MAX, ..identity.clone() }),
            Caller::Nobody | Caller::Member => self.clone(),
        }
    }

    pub fn to_wire(&self) -> Option<log::Caller> {
        match self {
            Caller::Nobody => None,
            Caller::Member => Some(log::Caller { is_member: true, ..log::Caller::default() }),
            Caller::User(identity) => Some(log::Caller {
                user: identity.user.to_string(),
                auth_revision: identity.auth_revision,
                is_member: false,
            }),
        }
    }

    pub fn from_wire(wire: Option<&log::Caller>) -> Self {
        match wire {
            None => Caller::Nobody,
            Some(caller) if caller.is_member => Caller::Member,
            Some(caller) => {
                Caller::User(Identity { user: caller.user.as_str().into(), auth_revision: caller.auth_revision })
            }
        }
    }
}

/// Why a caller does not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    #[error("the caller did not say who it is")]
    UserEmpty,
    #[error("users or roles have changed since the caller was recognised")]
    OldRevision,
    #[error("the user may not do this")]
    NotPermitted,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Whether `caller` may have all of `needs` in `view`. `state` is the view's.
pub fn check(view: &dyn View, state: &AuthState, caller: &Caller, needs: &[Need]) -> Result<(), Denied> {
    if !state.is_enabled {
        return Ok(());
    }
    let identity = match caller {
        Caller::Member => return Ok(()),
        Caller::Nobody => return Err(Denied::UserEmpty),
        Caller::User(identity) => identity,
    };
    if identity.auth_revision < state.revision {
        return Err(Denied::OldRevision);
    }
    let user = rows::user(view, &identity.user)?.ok_or(Denied::NotPermitted)?;
    if user.is_root() {
        return Ok(());
    }
    let permissions = permissions_of(view, &user)?;
    for need in needs {
        if !is_met(view, &permissions, need)? {
            return Err(Denied::NotPermitted);
        }
    }
    Ok(())
}

/// What the user's roles permit together. A role that is gone permits nothing.
fn permissions_of(view: &dyn View, user: &User) -> Result<Permissions, EngineError> {
    let mut granted = Vec::new();
    for name in user.fields.roles.iter().filter(|name| *name != ROOT) {
        if let Some(role) = rows::role(view, name)? {
            granted.extend(role.key_permission);
        }
    }
    Ok(Permissions::of(granted))
}

fn is_met(view: &dyn View, permissions: &Permissions, need: &Need) -> Result<bool, EngineError> {
    let all_keys = |lease: &LeaseId, may: &dyn Fn(&KeyRange) -> bool| {
        let keys = lease::attached_keys(view, *lease)?;
        Ok(keys.into_iter().all(|key| may(&KeyRange::from_wire(key, Bytes::new()))))
    };
    match need {
        Need::Read(keys) => Ok(permissions.may_read(keys)),
        Need::Write(keys) => Ok(permissions.may_write(keys)),
        Need::WriteKeysOf(lease) => all_keys(lease, &|key| permissions.may_write(key)),
        Need::ReadKeysOf(lease) => all_keys(lease, &|key| permissions.may_read(key)),
        Need::User => Ok(true),
        Need::Root => Ok(false),
    }
}
