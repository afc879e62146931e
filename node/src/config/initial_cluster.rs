//! `--initial-cluster`: the first members, by name and peer URL.

use std::collections::BTreeMap;

use super::urls;
use super::values::{Expected, expected};

const WHAT: &str = "members like n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380";

/// A name may stand more than once: the member then has several URLs.
pub fn parse(text: &str) -> Result<BTreeMap<String, Vec<String>>, Expected> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, url)) = part.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return expected(format!("{WHAT}; {part:?} has no name in front"));
        };
        let url = urls::advertise(url)?.remove(0);
        if let Some((other, _)) = members.iter().find(|(_, urls)| urls.contains(&url)) {
            return expected(format!("each URL once; {url:?} stands for {other} and for {name}"));
        }
        members.entry(name.to_owned()).or_default().push(url);
    }
    if members.is_empty() { expected(WHAT) } else { Ok(members) }
}

/// This member must be among them, under the URLs by which it says others reach it.
pub fn check_own(members: &BTreeMap<String, Vec<String>>, name: &str, advertised: &[String]) -> Result<(), String> {
    let Some(listed) = members.get(name) else {
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        return Err(format!(
            "--initial-cluster names the members {}, but this one is called {name:?}: add it, or correct --name",
            names.join(", ")
        ));
    };
    let (mut listed, mut advertised) = (listed.clone(), advertised.to_vec());
    listed.sort();
    advertised.sort();
    if listed != advertised {
        return Err(format!(
            "--initial-cluster has {name} at {}, but --initial-advertise-peer-urls is {}: they must be the same",
            listed.join(","),
            advertised.join(",")
        ));
    }
    Ok(())
}
