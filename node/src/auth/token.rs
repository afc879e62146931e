//! Simple tokens: a short text that says who its bearer is, good on every member.
//!
//! etcd keeps a table of its simple tokens on each member. Here a token carries what it says, signed with a secret that
//! is part of the replicated state, so that there is no table to fill up, to lose in a restart or to differ between
//! members.
//!
//! ```text
//! base64url( credential revision u64 | issued at, Unix ms u64 | log index u64 | nonce u64 | user )
//!   "." base64url( HMAC-SHA256 of the bytes before )
//! ```
//!
//! It is void when the user's password was changed or the user deleted (its credential revision is another then), when
//! authentication was disabled (the secret is another afterwards), and when its time is over, which whoever reads it
//! judges.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Length of the secret in the state.
pub const SIMPLE_SECRET_BYTES: usize = 32;

const HEAD_BYTES: usize = 32;
/// No token of ours is longer.
const TEXT_BYTES_MAX: usize = 4096;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleToken {
    pub user: String,
    /// Of the user when the token was issued.
    pub credential_revision: u64,
    pub issued_unix_ms: u64,
    /// The log position at which the issuer stood: a member that is not there yet cannot judge the token.
    pub index: u64,
    /// Tells tokens apart that were issued together.
    pub nonce: u64,
}

impl SimpleToken {
    /// Signs.
    pub fn to_text(&self, secret: &[u8]) -> String {
        let bytes = self.to_bytes();
        let signature = mac(secret, &bytes).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(signature))
    }

    /// What the text says, if it is signed with this secret.
    pub fn verified(text: &str, secret: &[u8]) -> Option<Self> {
        let (claims, signature) = parts(text)?;
        // Everybody knows the empty secret: it is that of a state in which nobody signs.
        if secret.is_empty() {
            return None;
        }
        // Compares in constant time.
        mac(secret, &claims).verify_slice(&signature).ok()?;
        Self::from_bytes(&claims)
    }

    /// The log position a text claims, signed or not: worth waiting for, and nothing else.
    pub fn claimed_index(text: &str) -> Option<u64> {
        let (claims, _) = parts(text)?;
        Some(Self::from_bytes(&claims)?.index)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.user.len());
        for number in [self.credential_revision, self.issued_unix_ms, self.index, self.nonce] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.user.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, user) = bytes.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        Some(Self {
            user: std::str::from_utf8(user).ok()?.to_owned(),
            credential_revision: number(0)?,
            issued_unix_ms: number(1)?,
            index: number(2)?,
            nonce: number(3)?,
        })
    }
}

fn parts(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (claims, signature) = text.split_once('.')?;
    Some((URL_SAFE_NO_PAD.decode(claims).ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

fn mac(secret: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> SimpleToken {
        SimpleToken { user: "ann".to_owned(), credential_revision: 3, issued_unix_ms: 1000, index: 7, nonce: 9 }
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let text = token().to_text(b"secret");
        assert_eq!(SimpleToken::verified(&text, b"secret"), Some(token()));
        assert_eq!(SimpleToken::claimed_index(&text), Some(7));
    }

    /// Everybody could sign with it.
    #[test]
    fn a_state_without_a_secret_knows_no_token() {
        let token =
            SimpleToken { user: "root".to_owned(), credential_revision: 1, issued_unix_ms: 1, index: 1, nonce: 1 };
        assert_eq!(SimpleToken::verified(&token.to_text(b""), b""), None);
        assert_eq!(SimpleToken::verified(&token.to_text(b"secret"), b"secret"), Some(token));
    }

    #[test]
    fn a_token_that_was_touched_says_nothing() {
        let text = token().to_text(b"secret");
        assert_eq!(SimpleToken::verified(&text, b"another"), None);
        let (claims, signature) = text.split_once('.').unwrap();
        let forged = SimpleToken { user: "root".to_owned(), ..token() }.to_text(b"guess");
        let (forged, _) = forged.split_once('.').unwrap();
        for text in [
            format!("{forged}.{signature}"),
            format!("{claims}."),
            claims.to_owned(),
            format!("{claims}.{}", &signature[1..]),
            String::new(),
            ".".to_owned(),
            "a".repeat(10_000),
        ] {
            assert_eq!(SimpleToken::verified(&text, b"secret"), None, "{text}");
        }
    }
}
