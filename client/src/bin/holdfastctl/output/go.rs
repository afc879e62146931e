//! Durations and sizes as Go programs write them, because etcdctl is one and scripts read what it writes.

use std::time::Duration;

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// `1.5s`, `2m0.25s`, `657.137µs`: what `%v` makes of a `time.Duration`.
pub(crate) fn duration(time: Duration) -> String {
    let ns = time.as_nanos();
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => decimal(ns, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(ns, 1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => decimal(ns, SECOND, "s"),
        _ => {
            let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
            // Below a minute's seconds there is no smaller unit: 1m0.25s.
            let seconds = decimal(ns % (60 * SECOND), SECOND, "s");
            if hours > 0 { format!("{hours}h{minutes}m{seconds}") } else { format!("{minutes}m{seconds}") }
        }
    }
}

/// `ns` in a unit of so many nanoseconds, without zeros at the end.
fn decimal(ns: u128, unit: u128, name: &str) -> String {
    let (whole, rest) = (ns / unit, ns % unit);
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{digits}{name}") }
}

/// The other way: `300ms`, `1.5h`, `2h45m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 500ms, 5s or 1m30s");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(unit_at);
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (name, seconds) = units.into_iter().find(|(name, _)| after.starts_with(name)).ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        rest = &after[name.len()..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// `20 kB`, `1.5 MB`: powers of a thousand, two digits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let exponent = bytes.ilog(1000);
    #[allow(clippy::cast_precision_loss)]
    let scaled = (bytes as f64 / 1000f64.powi(exponent.cast_signed()) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[exponent as usize - 1];
    if scaled < 10.0 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (17, "17ns"),
            (657_137, "657.137µs"),
            (1_500_000, "1.5ms"),
            (5_000_689_723, "5.000689723s"),
            (60_000_000_000, "1m0s"),
            (90_250_000_000, "1m30.25s"),
            (60_250_000_000, "1m0.25s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn durations_as_people_type_them() {
        for (text, ms) in [("500ms", 500), ("5s", 5_000), ("1m30s", 90_000), ("1.5h", 5_400_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1e9s", "0s", "5x", "-5s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_as_etcdctl_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (1_549_999, "1.5 MB"),
            (9_999_999, "10 MB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
