//! CPU time and memory of processes, from the kernel's own books (`/proc`).

use std::fs;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::Duration;

/// The kernel reports times in this unit on every architecture Rust's standard library supports on Linux
/// (`getconf CLK_TCK`).
const TICKS_PER_SECOND: u64 = 100;

/// Time spent on a core, in user code and in the kernel together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    ticks: u64,
}

impl Cpu {
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.ticks * 1000 / TICKS_PER_SECOND)
    }
}

impl Add for Cpu {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { ticks: self.ticks + other.ticks }
    }
}

impl Sub for Cpu {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self { ticks: self.ticks.saturating_sub(earlier.ticks) }
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Self::add)
    }
}

/// The CPU time these processes have used so far. One that is gone counts as nothing: its end is noticed elsewhere.
pub fn cpu(pids: &[u32]) -> Cpu {
    pids.iter().filter_map(|pid| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum()
}

/// The memory these processes hold now.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| parse_resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)).sum()
}

/// The time the machine's cores have spent on anything, interrupts and a hypervisor's other guests included.
pub fn machine_busy() -> Cpu {
    fs::read_to_string("/proc/stat").ok().as_deref().and_then(parse_busy).unwrap_or_default()
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, and parts of these.
fn parse_busy(stat: &str) -> Option<Cpu> {
    let fields: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
    let ticks = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum();
    Some(Cpu { ticks })
}

/// Fields 14 and 15 (proc(5)): user and system time. Counted from behind the name, which may hold anything.
fn parse_stat(line: &str) -> Option<Cpu> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Cpu { ticks: user + system })
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_is_called() {
        let line =
            "42 (a) S 9 (b)) R 1 42 42 0 -1 4194304 100 0 0 0 250 150 7 9 20 0 4 0 1234 5000 60 18446744073709551615";
        assert_eq!(parse_stat(line).map(Cpu::duration), Some(Duration::from_secs(4)));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn what_is_idle_is_not_busy() {
        let stat = "cpu  10 20 30 1000 2000 1 2 7 5 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_busy(stat), Some(Cpu { ticks: 70 }));
    }

    #[test]
    fn work_shows() {
        let me = [std::process::id()];
        let before = cpu(&me);
        let begun = std::time::Instant::now();
        let mut sum = 0u64;
        while (cpu(&me) - before).duration() < Duration::from_millis(20) && begun.elapsed() < Duration::from_secs(30) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        assert!((cpu(&me) - before).duration() >= Duration::from_millis(20));
        assert!(resident_bytes(&me) > 100_000);
    }
}
