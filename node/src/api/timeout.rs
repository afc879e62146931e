//! How long a client will wait, as gRPC's header says it.

use std::time::Duration;

/// Reads gRPC's timeout: up to eight digits and a unit. `None` if it is none.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| parse_timeout(text.as_bytes());
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("4999m"), Some(Duration::from_millis(4999)));
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(read("0S"), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_timeout_counts_as_none() {
        for text in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "1.5S", "S5", " 5S"] {
            assert_eq!(parse_timeout(text.as_bytes()), None, "{text:?}");
        }
    }
}
