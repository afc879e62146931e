//! How moments are shown, in logs and records.

use std::fmt;

/// A moment in UTC, with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339 {
    pub unix_ms: u64,
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_S: u64 = 86_400;
        let (seconds, ms) = (self.unix_ms / 1000, self.unix_ms % 1000);
        let (days, second) = (seconds / DAY_S, seconds % DAY_S);
        // Years that start in March, so that the leap day is the last one; eras of 400 years are all alike. The
        // algorithm is Howard Hinnant's (civil_from_days).
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        let show = |unix_ms| Rfc3339 { unix_ms }.to_string();
        assert_eq!(show(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(show(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(show(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
