//! JSON web tokens: `--auth-token jwt,sign-method=...`. Anyone with the key can check one, and with it one can let
//! another service issue them.
//!
//! The claims are etcd's: `username`, `revision` (the auth revision when it was issued) and `exp`. A token from before
//! a change of users or roles is refused with "revision of auth store is old".

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::{self, Keys};

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error(
        "sign-method {0:?} is not known: expected RS256 to RS512, PS256 to PS512, ES256, ES384, EdDSA or HS256 to HS512"
    )]
    Method(String),
    #[error("{what} cannot be read as a key for {method:?}: {detail}")]
    Key { what: &'static str, method: String, detail: String },
    #[error("{0}")]
    Missing(&'static str),
    #[error("pub-key and priv-key are no pair: tokens that one signs the other does not accept")]
    NoPair,
}

impl JwtError {
    pub(super) fn key(what: &'static str, method: &str, detail: &impl ToString) -> Self {
        Self::Key { what, method: method.to_owned(), detail: detail.to_string() }
    }
}

/// The keys of one cluster.
#[derive(Clone)]
pub struct Jwt {
    algorithm: Algorithm,
    /// `None` on a member that only checks.
    sign_with: Option<EncodingKey>,
    check_with: DecodingKey,
    ttl: Duration,
}

impl std::fmt::Debug for Jwt {
    /// Keys are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwt").field("algorithm", &self.algorithm).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    /// Unix seconds.
    exp: u64,
}

impl Jwt {
    /// `public` and `private` are the contents of PEM files; for HS methods the shared secret is in either.
    pub fn new(method: &str, public: Option<&[u8]>, private: Option<&[u8]>, ttl: Duration) -> Result<Self, JwtError> {
        let algorithm: Algorithm = method.parse().map_err(|_| JwtError::Method(method.to_owned()))?;
        let Keys { sign, check } = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let secret =
                    private.or(public).ok_or(JwtError::Missing("HS methods need priv-key, the shared secret"))?;
                Keys { sign: Some(EncodingKey::from_secret(secret)), check: DecodingKey::from_secret(secret) }
            }
            Algorithm::EdDSA => keys::edwards(public, private, method)?,
            Algorithm::ES256 | Algorithm::ES384 => keys::elliptic(algorithm, public, private, method)?,
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => keys::rsa(public, private, method)?,
        };
        let jwt = Self { algorithm, sign_with: sign, check_with: check, ttl };
        match jwt.issue("", 0, 0) {
            Some(text) if jwt.verified(&text, 0).is_none() => Err(JwtError::NoPair),
            None if jwt.sign_with.is_some() => Err(JwtError::key("priv-key", method, &"nothing can be signed with it")),
            Some(_) | None => Ok(jwt),
        }
    }

    /// A token for `user`; `None` on a member that only checks.
    pub fn issue(&self, user: &str, auth_revision: u64, now_unix_ms: u64) -> Option<String> {
        let exp = now_unix_ms / 1000 + self.ttl.as_secs();
        let claims = Claims { username: user.to_owned(), revision: auth_revision, exp };
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, self.sign_with.as_ref()?).ok()
    }

    /// User and auth revision, if the token is signed with our key, by our method, and its time is not over.
    pub fn verified(&self, text: &str, now_unix_ms: u64) -> Option<(String, u64)> {
        let mut validation = Validation::new(self.algorithm);
        // The time is ours to judge: the library would ask the machine's clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(text, &self.check_with, &validation).ok()?.claims;
        (now_unix_ms / 1000 < claims.exp).then_some((claims.username, claims.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(secret: &[u8]) -> Jwt {
        Jwt::new("HS256", None, Some(secret), Duration::from_secs(300)).unwrap()
    }

    #[test]
    fn a_token_is_good_until_its_time_is_over() {
        let jwt = shared(b"secret");
        let text = jwt.issue("ann", 7, 1_000_000).unwrap();
        assert_eq!(jwt.verified(&text, 1_000_000), Some(("ann".to_owned(), 7)));
        assert_eq!(jwt.verified(&text, 1_299_000), Some(("ann".to_owned(), 7)));
        assert_eq!(jwt.verified(&text, 1_300_000), None);
        assert_eq!(shared(b"another").verified(&text, 1_000_000), None);
    }

    /// The header of a token is its bearer's to write: it must not choose the method.
    #[test]
    fn a_token_of_another_method_is_refused() {
        let other = Jwt::new("HS512", None, Some(b"secret"), Duration::from_secs(300)).unwrap();
        let text = other.issue("root", 7, 0).unwrap();
        assert_eq!(shared(b"secret").verified(&text, 0), None);
        assert_eq!(shared(b"secret").verified("eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QifQ.", 0), None);
    }

    #[test]
    fn keys_that_are_none_are_refused_in_words() {
        let failed = |method, public: Option<&[u8]>| {
            Jwt::new(method, public, None, Duration::from_secs(1)).unwrap_err().to_string()
        };
        assert!(failed("RS255", None).contains("RS255"));
        assert!(failed("none", None).contains("none"));
        assert!(failed("RS256", None).contains("pub-key"));
        assert!(failed("ES256", Some(b"nonsense")).starts_with("pub-key cannot be read"));
    }
}
