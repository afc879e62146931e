//! Addresses: what to listen on, and what to tell others.

use std::net::IpAddr;

use super::values::{Expected, expected};

const LISTEN: &str = "URLs like http://127.0.0.1:2379, separated by commas: an IP address or localhost, and a port";
const ADVERTISE: &str = "URLs like http://node-1.example:2380, separated by commas: a host and a port";

/// The parts of a URL that name a server.
struct Address {
    host: String,
}

/// `Err` is what is wrong with this one URL, and what is expected.
fn address(url: &str, wanted: &str) -> Result<Address, Expected> {
    let wrong = |why: &str| Expected(format!("{wanted}; {url:?} {why}"));
    let uri: http::Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(wrong("has no http:// or https:// in front")),
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("has something behind the port"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
    if uri.port_u16().is_none() {
        return Err(wrong("names no port"));
    }
    Ok(Address { host: host.trim_start_matches('[').trim_end_matches(']').to_owned() })
}

/// The parts of a list; empty if nothing was given.
fn parts(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.trim_end_matches('/').to_owned())
        .collect()
}

fn refuse_twice(urls: &[String]) -> Result<(), Expected> {
    match urls.iter().enumerate().find(|(i, url)| urls[..*i].contains(url)) {
        Some((_, url)) => expected(format!("each URL once; {url:?} stands twice")),
        None => Ok(()),
    }
}

/// What to listen on. A name could mean several interfaces, or change: it is refused, as in etcd.
pub fn listen(text: &str) -> Result<Vec<String>, Expected> {
    let urls = parts(text);
    if urls.is_empty() {
        return expected(LISTEN);
    }
    for url in &urls {
        let host = address(url, LISTEN)?.host;
        if host != "localhost" && host.parse::<IpAddr>().is_err() {
            return expected(format!("{LISTEN}; {host:?} is a name"));
        }
    }
    refuse_twice(&urls)?;
    Ok(urls)
}

/// What to tell others.
pub fn advertise(text: &str) -> Result<Vec<String>, Expected> {
    let urls = advertise_any(text)?;
    match unreachable(&urls) {
        Some(url) => expected(format!("{ADVERTISE}; nobody can reach {url:?}")),
        None => Ok(urls),
    }
}

/// The same, where 0.0.0.0 is let through: etcd takes it, and many a container is started with it.
pub fn advertise_any(text: &str) -> Result<Vec<String>, Expected> {
    let urls = parts(text);
    if urls.is_empty() {
        return expected(ADVERTISE);
    }
    for url in &urls {
        address(url, ADVERTISE)?;
    }
    refuse_twice(&urls)?;
    Ok(urls)
}

/// The first that means "any address" (0.0.0.0, ::): nobody can reach that.
pub fn unreachable(urls: &[String]) -> Option<&String> {
    let is_any = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    urls.iter().find(|url| address(url, ADVERTISE).is_ok_and(|address| is_any(&address.host)))
}

/// Whether a URL asks for TLS.
pub fn is_https(url: &str) -> bool {
    url.starts_with("https://")
}

/// Whether others could use what we listen on: not if it says "any address".
pub fn can_be_advertised(listen: &[String]) -> bool {
    advertise(&listen.join(",")).is_ok()
}
