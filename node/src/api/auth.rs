//! Auth: users, roles, turning authentication on and off, and a token for a password.
//!
//! Changes go through the log like any write, and are decided in apply (`state/auth.rs`). Passwords stop here: what
//! travels on is their hash.

use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::ResponseHeader;
use holdfast_proto::etcdserverpb::auth_server::Auth;
use holdfast_proto::log::AuthEnable;
use holdfast_proto::log::auth_change::Change;
use holdfast_proto::log::outcome::Result as Outcome;
use tonic::{Request, Response, Status};

use super::authority::{Authority, permit_in};
use super::gate::{Asks, Call, Gate, Rpc};
use super::status;
use crate::auth::{self, AuthState, Caller, Need};
use crate::metrics::RpcKind::Unary;
use crate::state::command;
use crate::storage::View;

const SERVICE: &str = "etcdserverpb.Auth";

pub struct AuthService {
    gate: Gate,
    enable: Rpc,
    disable: Rpc,
    status: Rpc,
    authenticate: Rpc,
    user_add: Rpc,
    user_get: Rpc,
    user_list: Rpc,
    user_delete: Rpc,
    user_change_password: Rpc,
    user_grant_role: Rpc,
    user_revoke_role: Rpc,
    role_add: Rpc,
    role_get: Rpc,
    role_list: Rpc,
    role_delete: Rpc,
    role_grant_permission: Rpc,
    role_revoke_permission: Rpc,
}

/// An answer that is made of a header only.
type Header = Option<ResponseHeader>;

impl AuthService {
    pub fn new(gate: &Gate) -> Self {
        let rpc = |method| gate.rpc(Unary, SERVICE, method);
        Self {
            gate: gate.clone(),
            enable: rpc("AuthEnable"),
            disable: rpc("AuthDisable"),
            status: rpc("AuthStatus"),
            authenticate: rpc("Authenticate").asks(Asks::Nothing).audited(),
            user_add: rpc("UserAdd"),
            user_get: rpc("UserGet").asks(Asks::User).audited(),
            user_list: rpc("UserList"),
            user_delete: rpc("UserDelete"),
            user_change_password: rpc("UserChangePassword"),
            user_grant_role: rpc("UserGrantRole"),
            user_revoke_role: rpc("UserRevokeRole"),
            role_add: rpc("RoleAdd"),
            role_get: rpc("RoleGet").asks(Asks::User).audited(),
            role_list: rpc("RoleList"),
            role_delete: rpc("RoleDelete"),
            role_grant_permission: rpc("RoleGrantPermission"),
            role_revoke_permission: rpc("RoleRevokePermission"),
        }
    }

    async fn change(&self, change: Change, call: &Call) -> Result<Header, Status> {
        let changed = self.gate.propose(command::auth_change(change), call, |outcome| match outcome {
            Outcome::AuthChange(changed) => Some(changed),
            _ => None,
        });
        let mut header = changed.await?.header;
        self.gate.complete(&mut header);
        Ok(header)
    }

    /// A state that was restored from a file has users, and no secret to sign their tokens with: a backup must not be
    /// worth a token. Whoever authenticates first has it made, by the member, once.
    async fn make_secret(&self, call: &Call) -> Result<(), Status> {
        let lacks_secret = {
            let engine = self.gate.ops().store().engine();
            let state = AuthState::load(engine.view().as_ref())?;
            state.is_enabled && state.token_secret.is_empty()
        };
        if lacks_secret {
            let by_member = Call { caller: Caller::Member, ..call.clone() };
            let change = Change::Enable(AuthEnable { token_secret: Authority::new_secret().into() });
            self.change(change, &by_member).await?;
        }
        Ok(())
    }

    async fn hash(&self, password: String, call: &Call) -> Result<String, Status> {
        self.gate.authority().hash(password, call.deadline).await
    }

    /// Answers from the newest state.
    async fn read<A>(
        &self,
        call: &Call,
        answer: impl FnOnce(&dyn View, Header) -> Result<A, Status>,
    ) -> Result<A, Status> {
        self.gate.read_barrier(call).await?;
        let header = Some(self.gate.ops().header()?);
        let engine = self.gate.ops().store().engine();
        let view = engine.view();
        answer(view.as_ref(), header)
    }

    async fn answer_user_add(
        &self,
        mut request: pb::AuthUserAddRequest,
        call: Call,
    ) -> Result<pb::AuthUserAddResponse, Status> {
        let password = std::mem::take(&mut request.password);
        let has_password = !request.options.as_ref().is_some_and(|options| options.no_password);
        request.hashed_password = if has_password { self.hash(password, &call).await? } else { String::new() };
        Ok(pb::AuthUserAddResponse { header: self.change(Change::UserAdd(request), &call).await? })
    }

    async fn answer_change_password(
        &self,
        mut request: pb::AuthUserChangePasswordRequest,
        call: Call,
    ) -> Result<pb::AuthUserChangePasswordResponse, Status> {
        let password = std::mem::take(&mut request.password);
        // As in etcd: whoever's password is made empty cannot log in any more.
        request.hashed_password = if password.is_empty() { String::new() } else { self.hash(password, &call).await? };
        let header = self.change(Change::UserChangePassword(request), &call).await?;
        Ok(pb::AuthUserChangePasswordResponse { header })
    }

    /// A user may look at itself.
    async fn answer_user_get(
        &self,
        request: pb::AuthUserGetRequest,
        call: Call,
    ) -> Result<pb::AuthUserGetResponse, Status> {
        let is_own = call.caller.name() == request.name;
        let answer = |view: &dyn View, header| {
            permit_in(view, &call.caller, &[if is_own { Need::User } else { Need::Root }])?;
            let user = auth::user(view, &request.name)?.ok_or_else(status::user_not_found)?;
            Ok(pb::AuthUserGetResponse { header, roles: user.fields.roles })
        };
        self.read(&call, answer).await
    }

    /// A user may look at its roles.
    async fn answer_role_get(
        &self,
        request: pb::AuthRoleGetRequest,
        call: Call,
    ) -> Result<pb::AuthRoleGetResponse, Status> {
        let answer = |view: &dyn View, header| {
            let is_own = has_role(view, &call.caller, &request.role)?;
            permit_in(view, &call.caller, &[if is_own { Need::User } else { Need::Root }])?;
            let role = auth::role(view, &request.role)?.ok_or_else(status::role_not_found)?;
            Ok(pb::AuthRoleGetResponse { header, perm: role.key_permission })
        };
        self.read(&call, answer).await
    }

    async fn answer_status(&self, call: Call) -> Result<pb::AuthStatusResponse, Status> {
        let answer = |view: &dyn View, header| {
            permit_in(view, &call.caller, &[Need::Root])?;
            let state = AuthState::load(view)?;
            Ok(pb::AuthStatusResponse { header, enabled: state.is_enabled, auth_revision: state.revision })
        };
        self.read(&call, answer).await
    }

    async fn answer_user_list(&self, call: Call) -> Result<pb::AuthUserListResponse, Status> {
        let answer = |view: &dyn View, header| {
            permit_in(view, &call.caller, &[Need::Root])?;
            let users = auth::users(view)?;
            let users = users.into_iter().map(|user| text(&user.fields.name)).collect();
            Ok(pb::AuthUserListResponse { header, users })
        };
        self.read(&call, answer).await
    }

    async fn answer_role_list(&self, call: Call) -> Result<pb::AuthRoleListResponse, Status> {
        let answer = |view: &dyn View, header| {
            permit_in(view, &call.caller, &[Need::Root])?;
            let roles = auth::roles(view)?.into_iter().map(|role| text(&role.name)).collect();
            Ok(pb::AuthRoleListResponse { header, roles })
        };
        self.read(&call, answer).await
    }

    async fn answer_authenticate(
        &self,
        request: pb::AuthenticateRequest,
        call: Call,
    ) -> Result<pb::AuthenticateResponse, Status> {
        self.make_secret(&call).await?;
        let token = self.gate.authority().authenticate(&request.name, request.password, call.deadline).await?;
        Ok(pb::AuthenticateResponse { header: Some(self.gate.ops().header()?), token })
    }
}

fn has_role(view: &dyn View, caller: &Caller, role: &str) -> Result<bool, Status> {
    let user = auth::user(view, caller.name())?;
    Ok(user.is_some_and(|user| user.fields.roles.iter().any(|own| own == role)))
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn user(name: &str) -> String {
    format!("user {name:?}")
}

fn role(name: &str) -> String {
    format!("role {name:?}")
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let enable = |pb::AuthEnableRequest {}, call: Call| async move {
            let change = Change::Enable(AuthEnable { token_secret: Authority::new_secret().into() });
            Ok(pb::AuthEnableResponse { header: self.change(change, &call).await? })
        };
        self.enable.unary(request, enable).await
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let disable = |disable, call: Call| async move {
            Ok(pb::AuthDisableResponse { header: self.change(Change::Disable(disable), &call).await? })
        };
        self.disable.unary(request, disable).await
    }

    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        self.status.unary(request, |pb::AuthStatusRequest {}, call| self.answer_status(call)).await
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let about = user(&request.get_ref().name);
        self.authenticate.unary_about(about, request, |asked, call| self.answer_authenticate(asked, call)).await
    }

    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let about = user(&request.get_ref().name);
        self.user_add.unary_about(about, request, |add, call| self.answer_user_add(add, call)).await
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let about = user(&request.get_ref().name);
        self.user_get.unary_about(about, request, |get, call| self.answer_user_get(get, call)).await
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        self.user_list.unary(request, |pb::AuthUserListRequest {}, call| self.answer_user_list(call)).await
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let about = user(&request.get_ref().name);
        let delete = |delete, call: Call| async move {
            Ok(pb::AuthUserDeleteResponse { header: self.change(Change::UserDelete(delete), &call).await? })
        };
        self.user_delete.unary_about(about, request, delete).await
    }

    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let about = user(&request.get_ref().name);
        let answer = |change, call| self.answer_change_password(change, call);
        self.user_change_password.unary_about(about, request, answer).await
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let about = format!("{}, {}", user(&request.get_ref().user), role(&request.get_ref().role));
        let grant = |grant, call: Call| async move {
            Ok(pb::AuthUserGrantRoleResponse { header: self.change(Change::UserGrantRole(grant), &call).await? })
        };
        self.user_grant_role.unary_about(about, request, grant).await
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let about = format!("{}, {}", user(&request.get_ref().name), role(&request.get_ref().role));
        let revoke = |revoke, call: Call| async move {
            Ok(pb::AuthUserRevokeRoleResponse { header: self.change(Change::UserRevokeRole(revoke), &call).await? })
        };
        self.user_revoke_role.unary_about(about, request, revoke).await
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let about = role(&request.get_ref().name);
        let add = |add, call: Call| async move {
            Ok(pb::AuthRoleAddResponse { header: self.change(Change::RoleAdd(add), &call).await? })
        };
        self.role_add.unary_about(about, request, add).await
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let about = role(&request.get_ref().role);
        self.role_get.unary_about(about, request, |get, call| self.answer_role_get(get, call)).await
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        self.role_list.unary(request, |pb::AuthRoleListRequest {}, call| self.answer_role_list(call)).await
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let about = role(&request.get_ref().role);
        let delete = |delete, call: Call| async move {
            Ok(pb::AuthRoleDeleteResponse { header: self.change(Change::RoleDelete(delete), &call).await? })
        };
        self.role_delete.unary_about(about, request, delete).await
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let about = role(&request.get_ref().name);
        let grant = |grant, call: Call| async move {
            let header = self.change(Change::RoleGrantPermission(grant), &call).await?;
            Ok(pb::AuthRoleGrantPermissionResponse { header })
        };
        self.role_grant_permission.unary_about(about, request, grant).await
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let about = role(&request.get_ref().role);
        let revoke = |revoke, call: Call| async move {
            let header = self.change(Change::RoleRevokePermission(revoke), &call).await?;
            Ok(pb::AuthRoleRevokePermissionResponse { header })
        };
        self.role_revoke_permission.unary_about(about, request, revoke).await
    }
}
