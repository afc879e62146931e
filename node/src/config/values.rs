//! How single values are written. Each reader gives the value, or what it would have expected.

use std::time::Duration;

/// What a value should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(pub String);

pub fn expected<T>(what: impl Into<String>) -> Result<T, Expected> {
    Err(Expected(what.into()))
}

/// A whole number between two, both included.
pub fn number(text: &str, least: u64, most: u64) -> Result<u64, Expected> {
    match text.trim().parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if most == u64::MAX => expected(format!("a whole number, {least} or more")),
        _ => expected(format!("a whole number from {least} to {most}")),
    }
}

pub fn switch(text: &str) -> Result<Switch, Expected> {
    match text.trim() {
        // All that Go takes.
        "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(Switch::On),
        "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(Switch::Off),
        _ => expected("true or false"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

/// A length of time as Go writes it: numbers, each with its unit, one behind the other.
pub fn duration(text: &str) -> Result<Duration, Expected> {
    const WHAT: &str = "a length of time like 500ms, 10s, 5m or 1h30m";
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return expected(WHAT);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(amount) = rest[..digits].parse::<f64>() else { return expected(WHAT) };
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return expected(WHAT),
        };
        seconds += amount * unit;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(seconds).or_else(|_| expected(WHAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5000000000ns"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in ["", "10", "s", "10x", "-1s", "1h30", "ten seconds"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!(number("5", 1, 9), Ok(5));
        assert_eq!(number("10", 1, 9), expected("a whole number from 1 to 9"));
        assert_eq!(number("-1", 0, u64::MAX), expected("a whole number, 0 or more"));
    }
}
