//! The process as Linux sees it: the `process_*` family, which every Prometheus client library shows.
//!
//! `/proc` is no disk of the node: nothing in it is ours, durable or to be simulated. So it is read past `env::Disk`.
//! Where there is no `/proc` the family is missing.

use std::fmt::Write;

use rustix::fs::{Mode, OFlags, RawDir};

/// The unit of times in `/proc/*/stat`: fixed at 100 a second in what Linux shows to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// The unit of sizes in `/proc/self/statm` on every platform a release is made for.
const PAGE_BYTES: u64 = 4096;
/// Larger than any of the files read here.
const FILE_BYTES_MAX: usize = 16 * 1024;

/// Adds what is known to a text in Prometheus' format.
pub fn append(text: &mut String) {
    let facts = [
        ("process_cpu_seconds_total", "counter", "CPU time spent, in seconds.", cpu_seconds()),
        ("process_resident_memory_bytes", "gauge", "Memory held, in bytes.", memory_bytes(1)),
        ("process_virtual_memory_bytes", "gauge", "Memory mapped, in bytes.", memory_bytes(0)),
        ("process_open_fds", "gauge", "Open file descriptors.", open_files()),
        ("process_max_fds", "gauge", "Most file descriptors allowed.", open_files_max()),
        ("os_fd_used", "gauge", "Open file descriptors, by etcd's name.", open_files()),
        ("os_fd_limit", "gauge", "Most file descriptors allowed, by etcd's name.", open_files_max()),
        ("process_start_time_seconds", "gauge", "When the process started, in Unix seconds.", started_at()),
    ];
    for (name, kind, help, value) in facts {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    }
}

fn read(path: &str) -> Option<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = vec![0; FILE_BYTES_MAX];
    let mut length = 0;
    // The kernel may hand a file of /proc out in pieces.
    while length < bytes.len() {
        match rustix::io::read(&file, &mut bytes[length..]).ok()? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

/// The fields of `/proc/self/stat` behind the program's name, which may hold spaces: field 3 of proc(5) comes first.
fn stat() -> Option<Vec<f64>> {
    let stat = read("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect())
}

fn cpu_seconds() -> Option<f64> {
    let fields = stat()?;
    Some((fields.get(11)? + fields.get(12)?) / TICKS_PER_SECOND)
}

fn started_at() -> Option<f64> {
    let after_boot = stat()?.get(19)? / TICKS_PER_SECOND;
    let machine = read("/proc/stat")?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + after_boot)
}

fn memory_bytes(field: usize) -> Option<f64> {
    let pages: u64 = read("/proc/self/statm")?.split_whitespace().nth(field)?.parse().ok()?;
    Some((pages * PAGE_BYTES) as f64)
}

fn open_files() -> Option<f64> {
    let dir = rustix::fs::open("/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dir = dir.ok()?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
    let mut count = 0_u32;
    while let Some(entry) = entries.next() {
        let name = entry.ok()?;
        if !name.file_name().to_bytes().starts_with(b".") {
            count += 1;
        }
    }
    // One of them was this look at them.
    Some(f64::from(count.saturating_sub(1)))
}

fn open_files_max() -> Option<f64> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_described() {
        let mut text = String::new();
        append(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is missing in\n{text}")).parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1024.0 * 1024.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!((1.0..100_000.0).contains(&value("process_open_fds")));
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
