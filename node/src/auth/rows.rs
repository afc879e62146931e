//! The rows of users and roles: `storage/column.rs` draws them, this file reads and writes them.

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_proto::authpb;
use prost::Message;

use crate::storage::{Column, EngineError, Scan, View};

/// The user and the role that may do everything.
pub const ROOT: &str = "root";

const STATE: &[u8] = b"state";
const USERS: &[u8] = b"user/";
/// The first key behind those that start with [`USERS`].
const BEHIND_USERS: &[u8] = b"user0";
const ROLES: &[u8] = b"role/";
const BEHIND_ROLES: &[u8] = b"role0";

/// Authentication as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthState {
    pub is_enabled: bool,
    /// Counts changes of users and roles, from 1.
    pub revision: u64,
    /// What simple tokens are signed with; chosen anew each time authentication is enabled. Empty while it is off.
    pub token_secret: Bytes,
}

impl Default for AuthState {
    fn default() -> Self {
        Self { is_enabled: false, revision: 1, token_secret: Bytes::new() }
    }
}

impl AuthState {
    pub fn load(view: &dyn View) -> Result<Self, EngineError> {
        let Some(row) = view.get(Column::Auth, STATE)? else { return Ok(Self::default()) };
        let (Some((&enabled, _)), Some(revision)) = (row.split_first(), row.get(1..9)) else {
            return Err(damaged(STATE));
        };
        let revision = u64::from_le_bytes(revision.try_into().map_err(|_| damaged(STATE))?);
        Ok(Self { is_enabled: enabled == 1, revision, token_secret: row.slice(9..) })
    }
}

/// The row of [`AuthState`]: its key and its value.
pub fn state_row(state: &AuthState) -> (&'static [u8], Bytes) {
    let mut row = BytesMut::with_capacity(9 + state.token_secret.len());
    row.put_u8(u8::from(state.is_enabled));
    row.put_u64_le(state.revision);
    row.put_slice(&state.token_secret);
    (STATE, row.freeze())
}

/// A user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The auth revision at which the user was made, or its password was last changed: tokens from before are void.
    pub credential_revision: u64,
    pub fields: authpb::User,
}

impl User {
    pub fn is_root(&self) -> bool {
        self.fields.roles.iter().any(|role| role == ROOT)
    }

    pub fn has_no_password(&self) -> bool {
        self.fields.options.as_ref().is_some_and(|options| options.no_password)
    }

    fn decode(row_key: &[u8], row: &[u8]) -> Result<Self, EngineError> {
        let (revision, fields) = row.split_at_checked(8).ok_or_else(|| damaged(row_key))?;
        let revision = revision.try_into().map_err(|_| damaged(row_key))?;
        let fields = authpb::User::decode(fields).map_err(|_| damaged(row_key))?;
        Ok(Self { credential_revision: u64::from_le_bytes(revision), fields })
    }
}

pub fn user_key(name: &str) -> Bytes {
    [USERS, name.as_bytes()].concat().into()
}

/// The value of a user's row.
pub fn user_row(user: &User) -> Bytes {
    let mut row = BytesMut::with_capacity(8 + user.fields.encoded_len());
    row.put_u64_le(user.credential_revision);
    row.put_slice(&user.fields.encode_to_vec());
    row.freeze()
}

pub fn user(view: &dyn View, name: &str) -> Result<Option<User>, EngineError> {
    let row_key = user_key(name);
    view.get(Column::Auth, &row_key)?.map(|row| User::decode(&row_key, &row)).transpose()
}

/// All users, in the order of their names.
pub fn users(view: &dyn View) -> Result<Vec<User>, EngineError> {
    all(view, USERS, BEHIND_USERS, User::decode)
}

pub fn role_key(name: &str) -> Bytes {
    [ROLES, name.as_bytes()].concat().into()
}

/// The value of a role's row.
pub fn role_row(role: &authpb::Role) -> Bytes {
    role.encode_to_vec().into()
}

pub fn role(view: &dyn View, name: &str) -> Result<Option<authpb::Role>, EngineError> {
    let row_key = role_key(name);
    view.get(Column::Auth, &row_key)?.map(|row| decode_role(&row_key, &row)).transpose()
}

/// All roles, in the order of their names.
pub fn roles(view: &dyn View) -> Result<Vec<authpb::Role>, EngineError> {
    all(view, ROLES, BEHIND_ROLES, decode_role)
}

fn decode_role(row_key: &[u8], row: &[u8]) -> Result<authpb::Role, EngineError> {
    authpb::Role::decode(row).map_err(|_| damaged(row_key))
}

fn all<T>(
    view: &dyn View,
    from: &[u8],
    to: &[u8],
    decode: impl Fn(&[u8], &[u8]) -> Result<T, EngineError>,
) -> Result<Vec<T>, EngineError> {
    let mut found = Vec::new();
    let mut failed = None;
    let scan = Scan { from, to: Some(to), backwards: false };
    view.scan(Column::Auth, scan, &mut |row_key, row| match decode(row_key, row) {
        Ok(one) => {
            found.push(one);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(found), Err)
}

fn damaged(row_key: &[u8]) -> EngineError {
    let detail = format!("the row of column {} at key {} does not parse", Column::Auth.name(), row_key.escape_ascii());
    EngineError::Corrupt { detail }
}
