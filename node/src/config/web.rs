//! Who may ask over HTTP: lists of origins and of hosts.

use super::values::{Expected, expected};
use crate::gateway::Allowed;

/// As in etcd, nothing means everyone.
fn allowed(text: &str, is_good: impl Fn(&str) -> bool, wanted: &str) -> Result<Allowed, Expected> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.contains(&"*") {
        return Ok(Allowed::Everyone);
    }
    match names.iter().find(|name| !is_good(name)) {
        Some(name) => expected(format!("{wanted}, separated by commas; {name:?} is none")),
        None => Ok(Allowed::Only(names.into_iter().map(str::to_owned).collect())),
    }
}

/// Origins, as a browser sends them: a scheme, a host, a port that is not the scheme's own.
pub fn origins(text: &str) -> Result<Allowed, Expected> {
    let is_origin = |name: &str| {
        name.split_once("://")
            .is_some_and(|(scheme, host)| !scheme.is_empty() && !host.is_empty() && !host.contains('/'))
    };
    allowed(text, is_origin, "* or origins like https://console.example")
}

/// Host names without ports.
pub fn hosts(text: &str) -> Result<Allowed, Expected> {
    let is_host =
        |name: &str| !name.contains('/') && (!name.contains(':') || name.parse::<std::net::Ipv6Addr>().is_ok());
    allowed(text, is_host, "* or host names without ports like db.example")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Result<Allowed, Expected> {
        Ok(Allowed::Only(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn a_star_or_nothing_means_everyone() {
        for text in ["*", "", " ", "https://a.b,*"] {
            assert_eq!(origins(text), Ok(Allowed::Everyone), "{text:?}");
        }
        assert_eq!(hosts("*"), Ok(Allowed::Everyone));
    }

    #[test]
    fn lists_are_checked_name_by_name() {
        assert_eq!(origins("https://a.b, http://c:8080"), only(&["https://a.b", "http://c:8080"]));
        assert_eq!(hosts("localhost,::1,10.0.0.1"), only(&["localhost", "::1", "10.0.0.1"]));
        for text in ["a.b", "https://a.b/path", "https://"] {
            assert!(origins(text).is_err(), "{text:?}");
        }
        for text in ["localhost:2379", "http://localhost"] {
            assert!(hosts(text).is_err(), "{text:?}");
        }
    }
}
