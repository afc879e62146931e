//! A data directory that the node may not read.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_jepsen::world::process::{Cluster, Ran, holdfast_bin, run};

use crate::refused::expect_words;

const LIMIT: Duration = Duration::from_secs(20);
/// Nobody, on every Linux.
const NOBODY: &str = "65534";

/// Root reads everything, whatever the mode says: there the node runs as nobody. `None` if that cannot be.
fn serve_without_privileges(folder: &Path, args: &[String]) -> Option<Ran> {
    let id = run(Path::new("id"), &["-u".to_owned()], "", LIMIT);
    if id.out().trim() != "0" {
        return Some(run(&holdfast_bin(), args, "", LIMIT));
    }
    // The build folder may be closed to others; a link in a folder that is open is the same file.
    let program = folder.join("holdfast");
    if !program.exists() && std::fs::hard_link(holdfast_bin(), &program).is_err() {
        std::fs::copy(holdfast_bin(), &program).expect("the program can be copied");
    }
    let mut all: Vec<String> =
        ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"].map(str::to_owned).to_vec();
    all.push(program.display().to_string());
    all.extend(args.iter().cloned());
    let setpriv = PathBuf::from("/usr/bin/setpriv");
    setpriv.is_file().then(|| run(&setpriv, &all, "", LIMIT))
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("the owner may change the mode");
}

/// Closed as a whole, then a part of it.
pub async fn story(mut cluster: Cluster) {
    mode(cluster.folder(), 0o755);
    let data_dir = cluster.data_dir(0).to_owned();
    let identity = data_dir.join("IDENTITY");
    for (closed, inside) in [(&data_dir, false), (&identity, true)] {
        mode(&data_dir, if inside { 0o755 } else { 0o000 });
        mode(closed, 0o000);
        let Some(ran) = serve_without_privileges(cluster.folder(), &cluster.args(0)) else {
            return println!("SKIPPED: root can read everything, and there is no setpriv to be somebody else");
        };
        expect_words(&ran, &[&closed.display().to_string(), "ermission denied"]);
    }
    mode(&data_dir, 0o755);
    mode(&identity, 0o644);
    cluster.restart(0).await;
    let all = cluster.client().get("key/").prefix().await.expect("a read");
    assert_eq!(all.count, 3, "a refused start took something away");
}
