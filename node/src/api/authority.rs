//! Who is asking: from a token or a certificate to a [`Caller`], and from a password to a token.
//!
//! Any member judges any token. Simple tokens are signed with a secret of the replicated state, JSON web tokens with
//! keys that all members are given. A token that was issued at a log position this member has not reached yet is waited
//! for, so that whoever authenticates at one member can go on at another.
//!
//! Passwords are hashed on blocking threads, few at a time: bcrypt is slow on purpose, and must not take the node's
//! processors away from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use super::outcome::work_died;
use super::status;
use crate::auth::{self, AuthState, Caller, Identity, Need, SIMPLE_SECRET_BYTES, SimpleToken, Tokens};
use crate::ops::{Deadline, Ops};
use crate::rt;
use crate::storage::View;

/// The metadata that carries a token: gRPC's name, then HTTP's.
const TOKEN_FIELDS: [&str; 2] = ["token", "authorization"];
/// Passwords hashed at a time.
const HASHING_MAX: usize = 2;
/// Passwords waiting to be hashed.
const HASHING_WAITING_MAX: usize = 256;
/// Simple tokens whose last use is remembered. Those beyond live as long as they were issued for.
const USED_TOKENS_MAX: usize = 65_536;

/// What a request brings to prove who sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    Token(String),
    /// The common name of a client certificate that TLS has verified.
    Certificate(String),
}

/// Marks a request that the JSON gateway made of an HTTP request. Its connection is not its sender's, so no certificate
/// speaks for it.
#[derive(Clone, Copy, Debug)]
pub struct FromGateway;

impl Credentials {
    pub fn of(metadata: &MetadataMap, extensions: &Extensions) -> Self {
        let token = TOKEN_FIELDS.iter().find_map(|name| metadata.get(*name)?.to_str().ok());
        if let Some(token) = token {
            // HTTP's clients write the scheme in front.
            let bare = token.strip_prefix("Bearer ").or_else(|| token.strip_prefix("bearer ")).unwrap_or(token);
            return Credentials::Token(bare.trim().to_owned());
        }
        match extensions.get::<rt::ClientCertificate>() {
            Some(certificate) if extensions.get::<FromGateway>().is_none() => {
                Credentials::Certificate(certificate.common_name.clone())
            }
            _ => Credentials::None,
        }
    }
}

/// What one member needs to know its callers. Clones share it.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    ops: Ops,
    tokens: Tokens,
    hash_cost: u32,
    hashing: Semaphore,
    waiting: Semaphore,
    /// When a simple token was last used here, by its nonce: use prolongs its life, as in etcd.
    used: Mutex<UsedTokens>,
}

/// When simple tokens were last used on this member.
#[derive(Default)]
struct UsedTokens {
    by_nonce: BTreeMap<u64, rt::Instant>,
}

impl UsedTokens {
    /// A token lives for its time after it was issued, and on this member for its time after it was last used. Asking
    /// is using.
    fn is_alive(&mut self, token: &SimpleToken, ttl: Duration, now: rt::Instant, now_unix_ms: u64) -> bool {
        let used = &mut self.by_nonce;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let is_in_use = used.get(&token.nonce).is_some_and(|last| now - *last < ttl);
        if !is_in_use && now_unix_ms >= token.issued_unix_ms.saturating_add(ttl_ms) {
            used.remove(&token.nonce);
            return false;
        }
        if used.len() >= USED_TOKENS_MAX && !used.contains_key(&token.nonce) {
            used.retain(|_, last| now - *last < ttl);
        }
        if used.len() < USED_TOKENS_MAX || used.contains_key(&token.nonce) {
            used.insert(token.nonce, now);
        }
        true
    }
}

/// What a member makes of a token at first sight.
enum Judged {
    Good(Identity),
    Bad,
    /// This member's state may be too old to say.
    Unsure,
}

impl Authority {
    pub fn new(ops: Ops, tokens: Tokens, hash_cost: u32) -> Self {
        let inner = Inner {
            ops,
            tokens,
            hash_cost,
            hashing: Semaphore::new(HASHING_MAX),
            waiting: Semaphore::new(HASHING_WAITING_MAX),
            used: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Who is behind these credentials. While authentication is off nobody is asked.
    pub async fn caller(&self, credentials: &Credentials, deadline: Deadline) -> Result<Caller, Status> {
        let is_enabled = self.inner.ops.auth().is_enabled();
        match credentials {
            Credentials::None => Ok(Caller::Nobody),
            Credentials::Certificate(_) if !is_enabled => Ok(Caller::Nobody),
            Credentials::Certificate(name) => {
                let auth_revision = self.state()?.revision;
                Ok(Caller::User(Identity { user: name.as_str().into(), auth_revision }))
            }
            Credentials::Token(_) if !is_enabled && !self.is_ahead(credentials) => Ok(Caller::Nobody),
            Credentials::Token(token) => match self.judge(token)? {
                Judged::Good(identity) => Ok(Caller::User(identity)),
                Judged::Bad => Err(status::invalid_auth_token()),
                Judged::Unsure => {
                    self.inner.ops.read_barrier(deadline).await?;
                    match self.judge(token)? {
                        Judged::Good(identity) => Ok(Caller::User(identity)),
                        Judged::Bad | Judged::Unsure if !self.inner.ops.auth().is_enabled() => Ok(Caller::Nobody),
                        Judged::Bad | Judged::Unsure => Err(status::invalid_auth_token()),
                    }
                }
            },
        }
    }

    /// Whether `caller` may have what it needs, as this member's state has it. A refusal is made sure of: the state may
    /// lag behind a permission that was just granted.
    pub async fn permit(&self, caller: &Caller, needs: &[Need], deadline: Deadline) -> Result<(), Status> {
        if !self.inner.ops.auth().is_enabled() {
            return Ok(());
        }
        match self.permit_here(caller, needs) {
            Ok(()) => Ok(()),
            Err(_) if self.inner.ops.read_barrier(deadline).await.is_ok() => self.permit_here(caller, needs),
            Err(status) => Err(status),
        }
    }

    /// The same without making sure.
    pub fn permit_here(&self, caller: &Caller, needs: &[Need]) -> Result<(), Status> {
        let engine = self.inner.ops.store().engine();
        permit_in(engine.view().as_ref(), caller, needs)
    }

    fn state(&self) -> Result<AuthState, Status> {
        let engine = self.inner.ops.store().engine();
        Ok(AuthState::load(engine.view().as_ref())?)
    }

    fn is_ahead(&self, credentials: &Credentials) -> bool {
        let Credentials::Token(token) = credentials else { return false };
        SimpleToken::claimed_index(token).is_some_and(|index| index > self.inner.ops.standing().applied_index)
    }

    fn judge(&self, text: &str) -> Result<Judged, Status> {
        let engine = self.inner.ops.store().engine();
        let view = engine.view();
        let state = AuthState::load(view.as_ref())?;
        let now_unix_ms = rt::wall_unix_ms();
        match &self.inner.tokens {
            Tokens::Jwt(jwt) => Ok(match jwt.verified(text, now_unix_ms) {
                Some((_, revision)) if revision > state.revision => Judged::Unsure,
                Some((user, revision)) => Judged::Good(Identity { user: user.into(), auth_revision: revision }),
                None => Judged::Bad,
            }),
            Tokens::Simple { ttl } => {
                let is_unknown_yet = SimpleToken::claimed_index(text)
                    .is_some_and(|index| index > self.inner.ops.standing().applied_index);
                let bad = if is_unknown_yet { Judged::Unsure } else { Judged::Bad };
                if !state.is_enabled {
                    return Ok(bad);
                }
                let Some(token) = SimpleToken::verified(text, &state.token_secret) else { return Ok(bad) };
                let user = auth::user(view.as_ref(), &token.user)?;
                let is_current = user.is_some_and(|user| user.credential_revision == token.credential_revision);
                if !is_current {
                    return Ok(bad);
                }
                if !self.inner.used.lock().is_alive(&token, *ttl, rt::now(), now_unix_ms) {
                    return Ok(Judged::Bad);
                }
                Ok(Judged::Good(Identity { user: token.user.into(), auth_revision: state.revision }))
            }
        }
    }

    /// A token for whoever knows the password. A user that does not exist takes as long as one that does.
    pub async fn authenticate(&self, name: &str, password: String, deadline: Deadline) -> Result<String, Status> {
        // A password that was changed on another member counts here too.
        self.inner.ops.read_barrier(deadline).await?;
        let engine = self.inner.ops.store().engine();
        let (state, user) = {
            let view = engine.view();
            (AuthState::load(view.as_ref())?, auth::user(view.as_ref(), name)?)
        };
        if !state.is_enabled {
            return Err(status::auth_not_enabled());
        }
        let with_password = user.as_ref().filter(|user| !user.has_no_password() && !user.fields.password.is_empty());
        let hash = match with_password {
            Some(user) => user.fields.password.clone(),
            None => auth::nobodys_hash(self.inner.hash_cost).into(),
        };
        let fits = self.hashing(deadline, move || auth::is_password(&password, &hash)).await?;
        let Some(user) = with_password.filter(|_| fits) else { return Err(status::auth_failed()) };
        let now_unix_ms = rt::wall_unix_ms();
        match &self.inner.tokens {
            Tokens::Jwt(jwt) => jwt.issue(name, state.revision, now_unix_ms).ok_or_else(status::verify_only),
            Tokens::Simple { .. } => {
                let token = SimpleToken {
                    user: name.to_owned(),
                    credential_revision: user.credential_revision,
                    issued_unix_ms: now_unix_ms,
                    index: self.inner.ops.standing().applied_index,
                    nonce: rt::random_u64(),
                };
                Ok(token.to_text(&state.token_secret))
            }
        }
    }

    /// The hash of a new password, as the log may carry it.
    pub async fn hash(&self, password: String, deadline: Deadline) -> Result<String, Status> {
        if password.len() > auth::PASSWORD_BYTES_MAX {
            return Err(status::password_too_long());
        }
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&rt::random_u64().to_le_bytes());
        salt[8..].copy_from_slice(&rt::random_u64().to_le_bytes());
        let cost = self.inner.hash_cost;
        let hash = self.hashing(deadline, move || auth::hash_password(&password, cost, salt)).await?;
        hash.ok_or_else(|| Status::internal("holdfast: the password could not be hashed"))
    }

    /// A new secret for simple tokens.
    pub fn new_secret() -> Vec<u8> {
        let words = SIMPLE_SECRET_BYTES / size_of::<u64>();
        (0..words).flat_map(|_| rt::random_u64().to_le_bytes()).collect()
    }

    async fn hashing<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let _place = self.inner.waiting.try_acquire().map_err(|_| status::too_many_requests())?;
        let turn = rt::timeout(deadline.left(), self.inner.hashing.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(status::timed_out()) };
        rt::blocking(work).await.map_err(work_died)
    }
}

/// Whether `caller` may have what it needs in this very view: for what is answered from it.
pub fn permit_in(view: &dyn View, caller: &Caller, needs: &[Need]) -> Result<(), Status> {
    let state = AuthState::load(view)?;
    Ok(auth::check(view, &state, caller, needs)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(nonce: u64) -> SimpleToken {
        SimpleToken { user: "ann".to_owned(), credential_revision: 2, issued_unix_ms: 1000, index: 1, nonce }
    }

    #[test]
    fn use_prolongs_the_life_of_a_token() {
        let (ttl, begun) = (Duration::from_secs(300), rt::now());
        let mut used = UsedTokens::default();
        let mut at = |nonce: u64, seconds: u64| {
            used.is_alive(&token(nonce), ttl, begun + Duration::from_secs(seconds), 1000 + seconds * 1000)
        };
        assert!(at(1, 0) && at(1, 299) && at(1, 598), "each use is within 300 s of the one before");
        assert!(!at(1, 898) && !at(1, 899), "300 s without a use");
        assert!(at(2, 299) && !at(3, 300), "never used, it lives from when it was issued");
    }

    #[test]
    fn what_is_remembered_of_tokens_is_bounded() {
        let (ttl, now) = (Duration::from_secs(300), rt::now());
        let mut used = UsedTokens::default();
        for nonce in 0..USED_TOKENS_MAX as u64 + 10 {
            assert!(used.is_alive(&token(nonce), ttl, now, 1000));
        }
        assert_eq!(used.by_nonce.len(), USED_TOKENS_MAX);
        assert!(used.is_alive(&token(u64::MAX), ttl, now + ttl, 1000));
        assert_eq!(used.by_nonce.len(), 1, "those that were not used for long make room");
    }

    #[test]
    fn a_certificate_speaks_for_its_own_connection_only() {
        let mut extensions = Extensions::new();
        extensions.insert(rt::ClientCertificate { common_name: "ann".to_owned() });
        let none = MetadataMap::new();
        assert_eq!(Credentials::of(&none, &extensions), Credentials::Certificate("ann".to_owned()));
        let mut with_token = MetadataMap::new();
        with_token.insert("authorization", "Bearer abc".parse().unwrap());
        assert_eq!(Credentials::of(&with_token, &extensions), Credentials::Token("abc".to_owned()));
        extensions.insert(FromGateway);
        assert_eq!(Credentials::of(&none, &extensions), Credentials::None);
    }
}
