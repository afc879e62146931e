//! Carrying out a change of users and roles. The rules, and the order in which they are asked, are etcd's.

use holdfast_proto::authpb;
use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::ResponseHeader;
use holdfast_proto::log::auth_change::Change;
use holdfast_proto::log::refusal::Reason;
use holdfast_proto::log::{AuthChange, AuthChanged};

use super::halt::Halt;
use crate::auth::{self, AuthState, Caller, Denied, Need, ROOT, User};
use crate::mvcc::Overlay;
use crate::storage::{Column, View};

/// Refuses a command that its sender may not give, as the state is at the command's place in the log.
pub(super) fn admit(view: &dyn View, state: &AuthState, caller: &Caller, needs: &[Need]) -> Result<(), Halt> {
    let Err(denied) = auth::check(view, state, caller, needs) else { return Ok(()) };
    let reason = match denied {
        Denied::UserEmpty => Reason::AuthUserEmpty,
        Denied::OldRevision => Reason::AuthOldRevision,
        Denied::NotPermitted => Reason::AuthPermissionDenied,
        Denied::Engine(error) => return Err(error.into()),
    };
    refused(reason, &denied.to_string())
}

/// Carries out a change. Without an answer from here, nothing has changed.
pub(super) fn change(
    overlay: &mut Overlay<'_>,
    state: &mut AuthState,
    header: Option<ResponseHeader>,
    request: &AuthChange,
) -> Result<AuthChanged, Halt> {
    let mut changing = Changing { overlay, is_enabled: state.is_enabled, next: state.revision + 1 };
    let effect = match request.change.as_ref().ok_or(Halt::Unknown)? {
        Change::Enable(enable) => {
            changing.check_root()?;
            // A restored state is enabled, and nobody can sign yet.
            if !state.is_enabled || state.token_secret.is_empty() {
                state.is_enabled = true;
                state.token_secret = enable.token_secret.clone();
            }
            // As in etcd: what users may do has not changed.
            Effect::SameRevision
        }
        Change::Disable(pb::AuthDisableRequest {}) => {
            let was_enabled = std::mem::take(&mut state.is_enabled);
            state.token_secret.clear();
            if was_enabled { Effect::NextRevision } else { Effect::SameRevision }
        }
        Change::UserAdd(request) => changing.add_user(request)?,
        Change::UserDelete(request) => changing.delete_user(request)?,
        Change::UserChangePassword(request) => changing.change_password(request)?,
        Change::UserGrantRole(request) => changing.grant_role(request)?,
        Change::UserRevokeRole(request) => changing.revoke_role(request)?,
        Change::RoleAdd(request) => changing.add_role(request)?,
        Change::RoleDelete(request) => changing.delete_role(request)?,
        Change::RoleGrantPermission(request) => changing.grant_permission(request)?,
        Change::RoleRevokePermission(request) => changing.revoke_permission(request)?,
    };
    if effect == Effect::NextRevision {
        state.revision += 1;
    }
    let (row_key, row) = auth::state_row(state);
    overlay.put(Column::Auth, row_key, row);
    Ok(AuthChanged { header, auth_revision: state.revision })
}

/// Whether callers who were recognised before must say again who they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    NextRevision,
    SameRevision,
}

struct Changing<'s, 'v> {
    overlay: &'s mut Overlay<'v>,
    is_enabled: bool,
    /// The auth revision after the change.
    next: u64,
}

fn refused<T>(reason: Reason, what: &str) -> Result<T, Halt> {
    Err(Halt::refused(reason, what))
}

impl Changing<'_, '_> {
    /// Whoever turns authentication on without a root locks everybody out.
    fn check_root(&self) -> Result<(), Halt> {
        match auth::user(self.overlay, ROOT)? {
            None => refused(Reason::AuthRootUserNotExist, "make a user root first"),
            Some(user) if !user.is_root() => {
                refused(Reason::AuthRootRoleNotGranted, "grant the user root the role root first")
            }
            Some(_) => Ok(()),
        }
    }

    fn user(&self, name: &str) -> Result<User, Halt> {
        auth::user(self.overlay, name)?.ok_or_else(|| Halt::refused(Reason::AuthUserNotFound, name))
    }

    fn role(&self, name: &str) -> Result<authpb::Role, Halt> {
        auth::role(self.overlay, name)?.ok_or_else(|| Halt::refused(Reason::AuthRoleNotFound, name))
    }

    fn put_user(&mut self, name: &str, user: &User) {
        self.overlay.put(Column::Auth, auth::user_key(name), auth::user_row(user));
    }

    fn put_role(&mut self, name: &str, role: &authpb::Role) {
        self.overlay.put(Column::Auth, auth::role_key(name), auth::role_row(role));
    }

    fn add_user(&mut self, request: &pb::AuthUserAddRequest) -> Result<Effect, Halt> {
        if request.name.is_empty() {
            return refused(Reason::AuthUserEmpty, "a user needs a name");
        }
        if auth::user(self.overlay, &request.name)?.is_some() {
            return refused(Reason::AuthUserExists, &request.name);
        }
        let fields = authpb::User {
            name: request.name.clone().into(),
            password: request.hashed_password.clone().into(),
            roles: Vec::new(),
            options: request.options,
        };
        self.put_user(&request.name, &User { credential_revision: self.next, fields });
        Ok(Effect::NextRevision)
    }

    fn delete_user(&mut self, request: &pb::AuthUserDeleteRequest) -> Result<Effect, Halt> {
        if self.is_enabled && request.name == ROOT {
            return refused(Reason::AuthInvalidManagement, "root stays while authentication is on");
        }
        self.user(&request.name)?;
        self.overlay.delete(Column::Auth, auth::user_key(&request.name));
        Ok(Effect::NextRevision)
    }

    fn change_password(&mut self, request: &pb::AuthUserChangePasswordRequest) -> Result<Effect, Halt> {
        let mut user = self.user(&request.name)?;
        if !user.has_no_password() {
            user.fields.password = request.hashed_password.clone().into();
        }
        user.credential_revision = self.next;
        self.put_user(&request.name, &user);
        Ok(Effect::NextRevision)
    }

    fn grant_role(&mut self, request: &pb::AuthUserGrantRoleRequest) -> Result<Effect, Halt> {
        let mut user = self.user(&request.user)?;
        if request.role != ROOT {
            self.role(&request.role)?;
        }
        let Err(place) = user.fields.roles.binary_search(&request.role) else { return Ok(Effect::SameRevision) };
        user.fields.roles.insert(place, request.role.clone());
        self.put_user(&request.user, &user);
        Ok(Effect::NextRevision)
    }

    fn revoke_role(&mut self, request: &pb::AuthUserRevokeRoleRequest) -> Result<Effect, Halt> {
        if self.is_enabled && request.name == ROOT && request.role == ROOT {
            return refused(Reason::AuthInvalidManagement, "root stays root while authentication is on");
        }
        let mut user = self.user(&request.name)?;
        let Ok(place) = user.fields.roles.binary_search(&request.role) else {
            return refused(Reason::AuthRoleNotGranted, &request.role);
        };
        user.fields.roles.remove(place);
        self.put_user(&request.name, &user);
        Ok(Effect::NextRevision)
    }

    fn add_role(&mut self, request: &pb::AuthRoleAddRequest) -> Result<Effect, Halt> {
        if request.name.is_empty() {
            return refused(Reason::AuthRoleEmpty, "a role needs a name");
        }
        if auth::role(self.overlay, &request.name)?.is_some() {
            return refused(Reason::AuthRoleExists, &request.name);
        }
        let role = authpb::Role { name: request.name.clone().into(), key_permission: Vec::new() };
        self.put_role(&request.name, &role);
        Ok(Effect::NextRevision)
    }

    /// The role goes from all users too: one that is made later under its name is another.
    fn delete_role(&mut self, request: &pb::AuthRoleDeleteRequest) -> Result<Effect, Halt> {
        if self.is_enabled && request.role == ROOT {
            return refused(Reason::AuthInvalidManagement, "root stays while authentication is on");
        }
        self.role(&request.role)?;
        self.overlay.delete(Column::Auth, auth::role_key(&request.role));
        for mut user in auth::users(self.overlay)? {
            if let Ok(place) = user.fields.roles.binary_search(&request.role) {
                user.fields.roles.remove(place);
                let name = String::from_utf8_lossy(&user.fields.name).into_owned();
                self.put_user(&name, &user);
            }
        }
        Ok(Effect::NextRevision)
    }

    /// One permission for each range: another kind for the same range replaces it.
    fn grant_permission(&mut self, request: &pb::AuthRoleGrantPermissionRequest) -> Result<Effect, Halt> {
        let Some(permission) = &request.perm else {
            return refused(Reason::AuthPermissionNotGiven, "there is nothing to grant");
        };
        if !holds_keys(permission) {
            return refused(Reason::AuthInvalidManagement, "the range of the permission holds no key");
        }
        let mut role = self.role(&request.name)?;
        let all = &mut role.key_permission;
        match all.iter_mut().find(|one| one.key == permission.key && one.range_end == permission.range_end) {
            Some(same_range) => same_range.perm_type = permission.perm_type,
            None => {
                let place = all.partition_point(|one| one.key <= permission.key);
                all.insert(place, permission.clone());
            }
        }
        self.put_role(&request.name, &role);
        Ok(Effect::NextRevision)
    }

    fn revoke_permission(&mut self, request: &pb::AuthRoleRevokePermissionRequest) -> Result<Effect, Halt> {
        let mut role = self.role(&request.role)?;
        let all = &mut role.key_permission;
        let Some(place) = all.iter().position(|one| one.key == request.key && one.range_end == request.range_end)
        else {
            return refused(Reason::AuthPermissionNotGranted, "the role has no permission for this very range");
        };
        all.remove(place);
        self.put_role(&request.role, &role);
        Ok(Effect::NextRevision)
    }
}

/// A key, and an end behind it if there is one.
fn holds_keys(permission: &authpb::Permission) -> bool {
    let (key, end) = (&permission.key, &permission.range_end);
    !key.is_empty() && (end.is_empty() || end.as_ref() == [0] || end > key)
}
