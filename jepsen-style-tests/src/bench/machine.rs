//! Where and when a measurement was made: what a reader needs in order to judge the absolute numbers.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::bench::error::BenchError;
use crate::bench::latency::{Latencies, Percentiles};
use crate::bench::process::output;

const SYNCS: usize = 100;
const SYNC_BYTES: usize = 4096;

#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub date: String,
    /// Of this checkout; empty outside of one.
    pub commit: String,
    pub processor: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    pub file_system: String,
    /// One write of 4 KiB and its sync on the disk that holds the data, the machine being idle.
    pub sync: Percentiles,
}

impl Machine {
    pub fn look(folder: &Path) -> Result<Self, BenchError> {
        let file_system = file_system_of(folder);
        if ["tmpfs", "ramfs"].contains(&file_system.as_str()) {
            return Err(BenchError::NotADisk { path: folder.to_owned(), file_system });
        }
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        Ok(Self {
            date: date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            commit: commit(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: cores(),
            memory_bytes: memory_kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system,
            sync: sync_time(folder)?,
        })
    }
}

/// The same for people, of a run whose disk is not what is measured.
pub fn circumstances(program: &Path) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        line.map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let build = if program.components().any(|part| part.as_os_str() == "release") { "release" } else { "debug" };
    let today = date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    vec![
        format!("{today}, commit {}, {build} build", commit()),
        format!("{} cores of {processor}, Linux {}", cores(), kernel.trim()),
    ]
}

/// How many tasks wanted to run during the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn commit() -> String {
    let git = |args: &[&str]| output(Command::new("git").args(args));
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return String::new() };
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.trim().is_empty());
    format!("{}{}", commit.trim(), if is_clean { "" } else { " with changes" })
}

/// The kind of the mount with the longest path above this folder.
fn file_system_of(folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(path).then_some((path.len(), kind))
    });
    // Of two mounts on one path, the later hides the earlier.
    above.max_by_key(|(length, _)| *length).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

fn sync_time(folder: &Path) -> Result<Percentiles, BenchError> {
    let probe = || {
        let mut file = tempfile::tempfile_in(folder)?;
        let mut times = Latencies::default();
        for _ in 0..SYNCS {
            let begun = Instant::now();
            file.write_all(&[7; SYNC_BYTES])?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        Ok(times.percentiles())
    };
    probe().map_err(|source| BenchError::File { path: folder.to_owned(), source })
}

/// Year, month and day in UTC (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let days = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_735_689_599, "2024-12-31")];
        for (unix_s, expected) in days {
            assert_eq!(date(unix_s), expected);
        }
    }

    #[test]
    fn memory_is_no_disk() {
        if Path::new("/dev/shm").is_dir() {
            assert!(matches!(Machine::look(Path::new("/dev/shm")), Err(BenchError::NotADisk { .. })));
        }
    }
}
