//! Users and roles, and being a user: a token is fetched with the first connection, travels with every request, and is
//! fetched anew when a server says that it is no longer good.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_proto::authpb::{Permission, UserAddOptions};
use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::auth_client::AuthClient;
use http::HeaderValue;
use parking_lot::Mutex;
use tonic::Status;
use tower::ServiceExt;

use crate::call::Route;
use crate::connect::Channel;
use crate::range::prefix_end;
use crate::{Client, Error, rt};

/// The metadata that carries a token.
const TOKEN: &str = "token";

/// Said by a server to whom nobody needs to prove anything.
const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// Said by a server that wants a newer token. None of these requests was carried out.
const TOKEN_IS_OLD: &[&str] =
    &["etcdserver: invalid auth token", "etcdserver: revision of auth store is old", "etcdserver: user name is empty"];

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    /// The password is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a client knows of its own identity.
#[derive(Clone, Debug)]
enum Token {
    /// To be fetched.
    Unknown,
    /// The cluster asks nobody who it is.
    NotNeeded,
    Known(HeaderValue),
}

/// A login, and the token it gave.
pub(crate) struct Identity {
    login: Login,
    token: Arc<Mutex<Token>>,
    /// Held while the token is fetched, so that it is fetched once.
    fetching: tokio::sync::Mutex<()>,
}

impl Identity {
    pub(crate) fn new(login: Login) -> Self {
        Self { login, token: Arc::new(Mutex::new(Token::Unknown)), fetching: tokio::sync::Mutex::default() }
    }

    /// The channel with the token on all that goes through it. Fetches the token if there is none.
    pub(crate) async fn on(&self, channel: Channel, patience: std::time::Duration) -> Result<Channel, Status> {
        self.fetch(channel.clone(), patience).await?;
        let token = Arc::clone(&self.token);
        Ok(Channel::new(channel.map_request(move |mut request: http::Request<tonic::body::Body>| {
            if let Token::Known(token) = &*token.lock() {
                request.headers_mut().insert(TOKEN, token.clone());
            }
            request
        })))
    }

    async fn fetch(&self, channel: Channel, patience: std::time::Duration) -> Result<(), Status> {
        if !matches!(*self.token.lock(), Token::Unknown) {
            return Ok(());
        }
        let _one_at_a_time = self.fetching.lock().await;
        if !matches!(*self.token.lock(), Token::Unknown) {
            return Ok(());
        }
        let Login { user, password } = self.login.clone();
        let mut request = tonic::Request::new(pb::AuthenticateRequest { name: user, password });
        request.set_timeout(patience);
        let asked = rt::timeout(patience, AuthClient::new(channel).authenticate(request)).await;
        let answer = asked.map_err(|_| Status::unavailable("the server did not authenticate in time"))?;
        *self.token.lock() = match answer {
            Ok(answer) => {
                let mut token = HeaderValue::from_str(&answer.into_inner().token)
                    .map_err(|_| Status::internal("the server's token cannot be sent back to it"))?;
                token.set_sensitive(true);
                Token::Known(token)
            }
            Err(status) if status.message() == NOT_ENABLED => Token::NotNeeded,
            Err(status) => return Err(status),
        };
        Ok(())
    }

    /// Whether the failure means that another token is wanted. The next connection fetches it.
    pub(crate) fn is_outdated_by(&self, text: &str) -> bool {
        let is_old = TOKEN_IS_OLD.iter().any(|known| text.contains(known));
        if is_old {
            *self.token.lock() = Token::Unknown;
        }
        is_old
    }
}

/// What a permission is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedKeys {
    key: Bytes,
    range_end: Bytes,
}

impl PermittedKeys {
    #[must_use]
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        Self { key: Bytes::from(key.into()), range_end: Bytes::new() }
    }

    /// Up to `end`, and without it.
    #[must_use]
    pub fn range(key: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { range_end: Bytes::from(end.into()), ..Self::key(key) }
    }

    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let prefix = prefix.into();
        if prefix.is_empty() { Self::from_key(prefix) } else { Self::range(prefix.clone(), prefix_end(&prefix)) }
    }

    /// The key and all behind it.
    #[must_use]
    pub fn from_key(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Self::range(if key.is_empty() { vec![0] } else { key }, [0])
    }
}

pub use holdfast_proto::authpb::permission::Type as Access;

macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $name:ident, $method:ident, $route:ident, ($($arg:ident: $type:ty),*), $request:expr, $answer:ty;
    )*) => {
        $($(#[$doc])*
        ///
        /// # Errors
        /// Refused with etcd's words; see [`Error`].
        pub async fn $name(&self, $($arg: $type),*) -> Result<$answer, Error> {
            let send = |channel, request| async move { AuthClient::new(channel).$method(request).await };
            self.core.unary(Route::$route(), $request, send).await
        })*
    };
}

/// Users, roles, and whether they matter.
impl Client {
    calls! {
        /// From now on everybody says who they are. There must be a user root with the role root.
        auth_enable, auth_enable, write, (), pb::AuthEnableRequest {}, pb::AuthEnableResponse;
        /// From now on nobody is asked.
        auth_disable, auth_disable, write, (), pb::AuthDisableRequest {}, pb::AuthDisableResponse;
        /// Whether users are asked who they are, and how often users and roles have changed.
        auth_status, auth_status, read, (), pb::AuthStatusRequest {}, pb::AuthStatusResponse;
        /// The names of all users.
        user_list, user_list, read, (), pb::AuthUserListRequest {}, pb::AuthUserListResponse;
        /// The roles of a user.
        user_get, user_get, read, (name: &str), pb::AuthUserGetRequest { name: name.to_owned() },
            pb::AuthUserGetResponse;
        /// Removes a user. Its tokens are void.
        user_delete, user_delete, write, (name: &str), pb::AuthUserDeleteRequest { name: name.to_owned() },
            pb::AuthUserDeleteResponse;
        /// Changes a password. Tokens from before are void.
        user_change_password, user_change_password, write, (name: &str, password: &str),
            pb::AuthUserChangePasswordRequest {
                name: name.to_owned(), password: password.to_owned(), hashed_password: String::new(),
            },
            pb::AuthUserChangePasswordResponse;
        /// Gives a user a role.
        user_grant_role, user_grant_role, write, (user: &str, role: &str),
            pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() },
            pb::AuthUserGrantRoleResponse;
        /// Takes a role from a user.
        user_revoke_role, user_revoke_role, write, (user: &str, role: &str),
            pb::AuthUserRevokeRoleRequest { name: user.to_owned(), role: role.to_owned() },
            pb::AuthUserRevokeRoleResponse;
        /// The names of all roles.
        role_list, role_list, read, (), pb::AuthRoleListRequest {}, pb::AuthRoleListResponse;
        /// What a role permits.
        role_get, role_get, read, (role: &str), pb::AuthRoleGetRequest { role: role.to_owned() },
            pb::AuthRoleGetResponse;
        /// Makes a role that permits nothing yet.
        role_add, role_add, write, (name: &str), pb::AuthRoleAddRequest { name: name.to_owned() },
            pb::AuthRoleAddResponse;
        /// Removes a role, from its users too.
        role_delete, role_delete, write, (role: &str), pb::AuthRoleDeleteRequest { role: role.to_owned() },
            pb::AuthRoleDeleteResponse;
        /// Lets a role have keys. Another access for the very same keys replaces the one before.
        role_grant_permission, role_grant_permission, write, (role: &str, access: Access, keys: PermittedKeys),
            pb::AuthRoleGrantPermissionRequest {
                name: role.to_owned(),
                perm: Some(Permission { perm_type: access as i32, key: keys.key, range_end: keys.range_end }),
            },
            pb::AuthRoleGrantPermissionResponse;
        /// Takes back what was granted for these very keys.
        role_revoke_permission, role_revoke_permission, write, (role: &str, keys: PermittedKeys),
            pb::AuthRoleRevokePermissionRequest {
                role: role.to_owned(), key: keys.key, range_end: keys.range_end,
            },
            pb::AuthRoleRevokePermissionResponse;
    }

    /// Makes a user. Without a password it proves itself by a certificate, or by a token that somebody else signed.
    ///
    /// # Errors
    /// Refused with etcd's words; see [`Error`].
    pub async fn user_add(&self, name: &str, password: Option<&str>) -> Result<pb::AuthUserAddResponse, Error> {
        let request = pb::AuthUserAddRequest {
            name: name.to_owned(),
            password: password.unwrap_or_default().to_owned(),
            options: Some(UserAddOptions { no_password: password.is_none() }),
            hashed_password: String::new(),
        };
        let send = |channel, request| async move { AuthClient::new(channel).user_add(request).await };
        self.core.unary(Route::write(), request, send).await
    }
}
