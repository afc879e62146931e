//! A small file system of a node's own, which can fill up, stand still, and lose its power: a file, mounted as a loop
//! device. Needs root.
//!
//! It is mounted in a mount namespace that one child holds, and reached through `/proc/<child>/root`. The child obeys
//! the words on its input and waits for its end: however the test ends, the pipe closes, the child lets a frozen file
//! system go on, goes, and the kernel unmounts. Nothing is left on the machine, and tests do not see one another's
//! mounts.
//!
//! A signal to the whole group, as Ctrl-C and `timeout` send it, does not end the child: it would leave the file
//! system frozen for ever, and with it whoever waits for it.
//!
//! - *Frozen* is the kernel's own freezing of a file system (`fsfreeze`): whoever writes or syncs waits.
//! - *Power loss* is ext4's own shutdown without writing its journal back: what was not synced is gone, every further
//!   write fails with EIO, and the next mount recovers from the journal, as after a real one.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::run::run;

const LIMIT: Duration = Duration::from_secs(30);
/// What fills the disk, piece by piece.
const BLOCK: usize = 16 * 1024 * 1024;
const FILLING: &str = "filling";
/// Shut down: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_DEFAULT (0) or _NOLOGFLUSH (2), of the kernel's
/// uapi/linux/ext4.h.
const HOLDER: &str = r#"
trap "" HUP INT TERM
mount -o loop "$0" "$1" && echo mounted || exit 1
shut_down='$how = pack("L", $ARGV[1]); open(F, "<", $ARGV[0]) && defined(ioctl(F, 0x8004587d, $how)) || exit 1'
while read -r word; do
    case $word in
        freeze) fsfreeze --freeze "$1" ;;
        thaw) fsfreeze --unfreeze "$1" ;;
        fail) perl -e "$shut_down" "$1" 0 ;;
        lose-power) perl -e "$shut_down" "$1" 2 ;;
        mount-again) umount "$1" && mount -o loop "$0" "$1" ;;
        *) false ;;
    esac && echo done || echo failed
done
fsfreeze --unfreeze "$1" 2>/dev/null
"#;

/// The kernel or a tool of this machine cannot do it.
#[derive(Debug, thiserror::Error)]
#[error("this machine's disks cannot do that: {word} (it needs fsfreeze of util-linux, perl, and ext4)")]
pub struct DiskError {
    word: &'static str,
}

pub struct SmallDisk {
    holder: Child,
    answers: BufReader<ChildStdout>,
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
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", HOLDER])
            .args([&image, &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut holder = holder.map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let mut answers = BufReader::new(holder.stdout.take().expect("it is piped"));
        answers.read_line(&mut said).expect("a line or its end");
        if said.trim() != "mounted" {
            let ended = holder.wait_with_output().expect("it ends without its pipe");
            return Err(format!("mount -o loop: {}", String::from_utf8_lossy(&ended.stderr).trim()));
        }
        let inside = mount.strip_prefix("/").expect("temporary folders have absolute paths");
        let root = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        Ok(Self { holder, answers, root, _folder: folder })
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
        // Most of it without writing it, where the file system can.
        let most = self.free_bytes().saturating_sub(left + BLOCK as u64).to_string();
        let args = ["-l", &most, &path.display().to_string()].map(str::to_owned);
        let _taken = run(Path::new("fallocate"), &args, "", LIMIT);
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
        // A loss of power may have taken it.
        let _gone = std::fs::remove_file(self.root.join(FILLING));
    }

    /// From now on whoever writes or syncs waits.
    pub fn freeze(&mut self) -> Result<(), DiskError> {
        self.order("freeze")
    }

    pub fn thaw(&mut self) -> Result<(), DiskError> {
        self.order("thaw")
    }

    /// Everything that was not synced is gone, and every write fails from now on.
    pub fn lose_power(&mut self) -> Result<(), DiskError> {
        self.order("lose-power")
    }

    /// What was written so far is safe, and every write fails from now on.
    pub fn fail(&mut self) -> Result<(), DiskError> {
        self.order("fail")
    }

    /// After a loss of power or a failure, when nobody has a file of it open any more.
    pub fn mount_again(&mut self) -> Result<(), DiskError> {
        self.order("mount-again")
    }

    fn order(&mut self, word: &'static str) -> Result<(), DiskError> {
        let mut answer = String::new();
        let mut ask = || {
            let input = self.holder.stdin.as_mut()?;
            writeln!(input, "{word}").and_then(|()| input.flush()).ok()?;
            self.answers.read_line(&mut answer).ok()
        };
        let asked = ask();
        if asked.is_some() && answer.trim() == "done" { Ok(()) } else { Err(DiskError { word }) }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ended = self.holder.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_stands_still_and_loses_what_was_not_synced() {
        let mut disk = match SmallDisk::mount(16) {
            Ok(disk) => disk,
            Err(why) => return println!("SKIPPED: no loop device can be mounted here: {why}"),
        };
        let write = |name: &str| std::fs::write(disk.root().join(name), name);
        write("synced").expect("written");
        let synced = std::fs::File::open(disk.root().join("synced")).and_then(|file| file.sync_all());
        let folder = std::fs::File::open(disk.root()).and_then(|folder| folder.sync_all());
        synced.and(folder).expect("synced");
        write("unsynced").expect("written");
        disk.lose_power().expect("ext4 can");
        std::fs::write(disk.root().join("late"), "late").expect_err("a disk without power takes nothing");
        disk.mount_again().expect("nobody uses it");
        let is_there = |name: &str| disk.root().join(name).exists();
        assert_eq!([is_there("synced"), is_there("unsynced"), is_there("late")], [true, false, false]);

        disk.freeze().expect("ext4 can");
        let path = disk.root().join("waiting");
        let (told, hears) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            let written = std::fs::write(path, "at last");
            // Whoever listened may have given up.
            let _told = told.send(());
            written
        });
        hears.recv_timeout(Duration::from_millis(300)).expect_err("a frozen disk takes nothing");
        disk.thaw().expect("it is frozen");
        hears.recv_timeout(LIMIT).expect("a thawed disk goes on");
        writer.join().expect("no panic").expect("written");
    }
}
