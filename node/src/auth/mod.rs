//! Who may do what: users, roles, permissions on ranges of keys, and the proofs by which users are known.
//!
//! ```text
//!   replicated, in Column::Auth              asked for each request                    proofs
//!   --------------------------------         ---------------------------------         --------------------------
//!   state   on or off, auth revision         needs.rs   request -> [Need]              password.rs  bcrypt
//!   user/   roles, password hash             check.rs   may this caller have           token.rs     simple, signed
//!   role/   permissions on key ranges                   these needs, in this view?     jwt.rs       keys from files
//! ```
//!
//! - Everything here is plain functions of a view. The same [`check`] is made where a request is read (on the very view
//!   it is answered from) and where a command is applied: a permission that was taken away before the command's place
//!   in the log does not count.
//! - [`needs_of`] is the one place that takes a request apart: nested transactions in both branches, comparisons,
//!   previous values, leases. What it does not name nobody asks for.
//! - The auth revision counts the changes of users and roles. A caller that was recognised as of an older one is sent
//!   back to say again who it is, as in etcd.
//! - A role gives what the union of its ranges covers; a user has the union of its roles. The role `root` covers
//!   everything, and is the only one that may administer.

mod check;
mod jwt;
mod keys;
mod live;
mod needs;
mod password;
mod permissions;
mod rows;
mod settings;
mod token;

pub use check::{Caller, Denied, Identity, check};
pub use jwt::{Jwt, JwtError};
pub use live::Live;
pub use needs::{Asked, Need, needs_of, needs_of_command};
pub use password::{HASH_COST_DEFAULT, PASSWORD_BYTES_MAX, hash_password, is_password, nobodys_hash};
pub use permissions::Permissions;
pub use rows::{AuthState, ROOT, User, role, role_key, role_row, roles, state_row, user, user_key, user_row, users};
pub use settings::{AuthSettings, TokenSettings, Tokens};
pub use token::{SIMPLE_SECRET_BYTES, SimpleToken};
