//! Passwords: bcrypt, as etcd stores them, so that hashes mean the same in both.
//!
//! Slow on purpose, some 50 ms at the default cost: called on blocking threads only, and never in apply.

use bcrypt::Version;

/// etcd's default of `--bcrypt-cost`.
pub const HASH_COST_DEFAULT: u32 = 10;
/// bcrypt looks at no more. A longer password is refused rather than cut.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// The hash of a password, in bcrypt's own text form. The caller brings the salt, and sees to it that the password is
/// no longer than [`PASSWORD_BYTES_MAX`] and the cost from 4 to 31.
pub fn hash_password(password: &str, cost: u32, salt: [u8; 16]) -> Option<String> {
    let parts = bcrypt::hash_with_salt(password, cost, salt).ok()?;
    Some(parts.format_for_version(Version::TwoA))
}

/// Whether the password is the one that was hashed. A hash that is none fits no password.
pub fn is_password(password: &str, hash: &[u8]) -> bool {
    let Ok(hash) = std::str::from_utf8(hash) else { return false };
    bcrypt::verify(password, hash).unwrap_or(false)
}

/// A hash that no known password has, to spend as much time on a user that does not exist as on one that does.
pub fn nobodys_hash(cost: u32) -> String {
    format!("$2a${cost:02}$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_and_no_other() {
        let hash = hash_password("secret", 4, [7; 16]).unwrap();
        assert!(hash.starts_with("$2a$04$"), "{hash}");
        assert!(is_password("secret", hash.as_bytes()));
        assert!(!is_password("Secret", hash.as_bytes()) && !is_password("", hash.as_bytes()));
        assert!(!is_password("secret", b"") && !is_password("secret", b"\xff"));
    }

    /// Made by another implementation of bcrypt.
    #[test]
    fn hashes_of_others_are_understood() {
        let hash = b"$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
        assert!(is_password("secret", hash) && !is_password("", hash));
    }

    #[test]
    fn an_unknown_user_costs_as_much() {
        let hash = nobodys_hash(5);
        assert!(bcrypt::verify("x", &hash).is_ok(), "it is a hash");
        assert!(!is_password("", hash.as_bytes()));
    }
}
