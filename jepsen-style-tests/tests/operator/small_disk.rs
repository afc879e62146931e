//! A small file system of the test's own: a file, mounted as a loop device.
//!
//! It is mounted in a mount namespace that one child holds, and reached through `/proc/<child>/root`. The child waits
//! for the end of its input: however the test ends, the pipe closes, the child goes, and the kernel unmounts. Nothing
//! is left on the machine, and tests do not see one another's mounts.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use holdfast_jepsen::world::process::run;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
/// What fills the disk, piece by piece.
const BLOCK: usize = 16 * 1024 * 1024;
const FILLING: &str = "filling";

pub struct SmallDisk {
    holder: Child,
    root: PathBuf,
    _folder: TempDir,
}

impl SmallDisk {
    /// Makes and mounts it; `Err` says why this machine cannot.
    pub fn mount(megabytes: u64) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("holdfast-disk-").tempdir().expect("a temporary folder");
        let (image, mount) = (folder.path().join("image"), folder.path().join("mount"));
        std::fs::create_dir(&mount).expect("a folder");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(megabytes * 1024 * 1024).expect("a sparse file");
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image).output();
        if !made.as_ref().is_ok_and(|made| made.status.success()) {
            return Err(format!("mkfs.ext4: {made:?}"));
        }
        let script = "mount -o loop \"$0\" \"$1\" && echo mounted && exec cat";
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .args([&image, &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut holder = holder.map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("it is piped")).read_line(&mut said).expect("a line or its end");
        if said.trim() != "mounted" {
            let ended = holder.wait_with_output().expect("it ends without its pipe");
            return Err(format!("mount -o loop: {}", String::from_utf8_lossy(&ended.stderr).trim()));
        }
        let inside = mount.strip_prefix("/").expect("temporary folders have absolute paths");
        let root = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        Ok(Self { holder, root, _folder: folder })
    }

    /// Where it is, for whoever is outside of its namespace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn free_bytes(&self) -> u64 {
        let args = ["-f", "-c", "%a %S", &self.root.display().to_string()].map(str::to_owned);
        let ran = run(Path::new("stat"), &args, "", LIMIT);
        let numbers: Vec<u64> = ran.out().split_whitespace().map(|word| word.parse().expect("a number")).collect();
        numbers[0] * numbers[1]
    }

    /// Takes room away until at most `left` bytes are free, or none at all.
    pub fn fill(&self, left: u64) {
        let path = self.root.join(FILLING);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
        while let Some(room) = self.free_bytes().checked_sub(left + 1) {
            let piece = vec![0x5a; usize::try_from(room + 1).unwrap_or(usize::MAX).min(BLOCK)];
            // Less may fit than is said to be free: the file system keeps books of its own.
            if file.write_all(&piece).is_err() {
                break;
            }
        }
        let _full = file.sync_all();
    }

    /// Gives back what [`Self::fill`] took.
    pub fn clear(&self) {
        std::fs::remove_file(self.root.join(FILLING)).expect("the filling is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ended = self.holder.wait();
    }
}
