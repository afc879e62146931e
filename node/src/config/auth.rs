//! How `--auth-token` and `--audit-log-path` are written.

use std::path::PathBuf;
use std::time::Duration;

use super::values::{self, Expected};
use crate::api::AuditSettings;
use crate::auth::TokenSettings;

const WHAT: &str = "simple, or jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=DURATION";

/// etcd's way: the kind, then options, with commas between them.
pub fn tokens(text: &str, simple_ttl: Duration) -> Result<TokenSettings, Expected> {
    let mut parts = text.trim().split(',').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let options: Vec<(&str, &str)> = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    match kind {
        "" | "simple" if options.is_empty() => Ok(TokenSettings::Simple { ttl: simple_ttl }),
        "jwt" => jwt(&options),
        _ => values::expected(WHAT),
    }
}

fn jwt(options: &[(&str, &str)]) -> Result<TokenSettings, Expected> {
    let (mut method, mut public_key, mut private_key) = (None, None, None);
    let mut ttl = TokenSettings::JWT_TTL;
    for (name, value) in options {
        if value.is_empty() {
            return values::expected(format!("a value for {name:?}; {WHAT}"));
        }
        match *name {
            "sign-method" => method = Some((*value).to_owned()),
            "pub-key" => public_key = Some(file(value)?),
            "priv-key" => private_key = Some(file(value)?),
            "ttl" => {
                ttl = values::duration(value)?;
                if ttl < Duration::from_secs(1) {
                    return values::expected("a ttl of a second or more");
                }
            }
            _ => return values::expected(format!("no option {name:?}; {WHAT}")),
        }
    }
    let Some(method) = method else { return values::expected(format!("a sign-method; {WHAT}")) };
    if public_key.is_none() && private_key.is_none() {
        return values::expected(format!("a key to check tokens with; {WHAT}"));
    }
    Ok(TokenSettings::Jwt { method, public_key, private_key, ttl })
}

fn file(text: &str) -> Result<PathBuf, Expected> {
    std::path::absolute(text).or_else(|_| values::expected("a file"))
}

/// `stderr`, or a file; nothing is nowhere.
pub fn audit(text: &str, bytes_max: u64) -> Result<AuditSettings, Expected> {
    match text.trim() {
        "" => Ok(AuditSettings::Off),
        "stderr" => Ok(AuditSettings::Stderr),
        path => Ok(AuditSettings::File { path: file(path)?, bytes_max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    #[test]
    fn tokens_are_written_as_for_etcd() {
        assert_eq!(tokens("simple", TTL), Ok(TokenSettings::Simple { ttl: TTL }));
        let jwt = tokens("jwt,pub-key=/k/pub.pem,priv-key=/k/key.pem,sign-method=RS256,ttl=10m", TTL);
        let expected = TokenSettings::Jwt {
            method: "RS256".to_owned(),
            public_key: Some("/k/pub.pem".into()),
            private_key: Some("/k/key.pem".into()),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(jwt, Ok(expected));
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_option_named() {
        for text in ["basic", "jwt", "jwt,sign-method=RS256", "simple,ttl=5", "jwt,sign-method=HS256,priv-key="] {
            assert!(tokens(text, TTL).is_err(), "{text}");
        }
        let refused = tokens("jwt,sign-metod=HS256", TTL).unwrap_err();
        assert!(refused.0.contains("sign-metod"), "{refused:?}");
    }

    #[test]
    fn the_audit_log_goes_where_it_is_told() {
        assert_eq!(audit("", 9), Ok(AuditSettings::Off));
        assert_eq!(audit("stderr", 9), Ok(AuditSettings::Stderr));
        assert_eq!(audit("/a/b", 9), Ok(AuditSettings::File { path: "/a/b".into(), bytes_max: 9 }));
    }
}
