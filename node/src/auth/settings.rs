//! What an operator decides about authentication.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::jwt::Jwt;
use super::password::HASH_COST_DEFAULT;

/// As given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    pub tokens: TokenSettings,
    /// bcrypt's cost: each step doubles the time that a guess takes. 4 to 31.
    pub hash_cost: u32,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self { tokens: TokenSettings::Simple { ttl: TokenSettings::SIMPLE_TTL }, hash_cost: HASH_COST_DEFAULT }
    }
}

/// `--auth-token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSettings {
    Simple {
        ttl: Duration,
    },
    Jwt {
        method: String,
        /// PEM files.
        public_key: Option<PathBuf>,
        private_key: Option<PathBuf>,
        ttl: Duration,
    },
}

impl TokenSettings {
    /// etcd's.
    pub const SIMPLE_TTL: Duration = Duration::from_secs(300);
    pub const JWT_TTL: Duration = Duration::from_secs(300);
}

/// The same with its keys read.
#[derive(Clone, Debug)]
pub enum Tokens {
    Simple { ttl: Duration },
    Jwt(Arc<Jwt>),
}
