//! Numbers and times as people read them.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Writes a size with three significant digits: `512 B`, `1.50 KiB`, `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to four digits goes to the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Writes a rate: `98.3 MiB/s`.
pub(crate) fn rate(count: u64, duration: Duration) -> String {
    format!("{}/s", bytes(per_second(count, duration)))
}

/// Returns bytes per second; spans too short to measure count as a millisecond.
pub(crate) fn per_second(count: u64, duration: Duration) -> u64 {
    (count as f64 / duration.as_secs_f64().max(0.001)) as u64
}

/// Writes a duration: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Writes a share in whole percent, never 100 % for less than all and never 0 % for more than nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    let percent = (part as f64 / whole as f64 * 100.0).round() as u64;
    format!("{} %", percent.clamp(1, 99))
}

/// Writes a Unix time in UTC: `2023-11-14T22:13:20Z`.
pub(crate) fn time(unix_seconds: i64) -> String {
    match jiff::Timestamp::from_second(unix_seconds) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => unix_seconds.to_string(),
    }
}

/// Writes a count with its noun: `1 chunk`, `2 chunks`.
pub(crate) fn count(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (10_240, "10.0 KiB"),
            (102_400, "100 KiB"),
            (1_023_999, "0.98 MiB"),
            (4 << 20, "4.00 MiB"),
            (3 << 40, "3.00 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations_show_what_matters() {
        for (millis, text) in [
            (0, "0.00 s"),
            (420, "0.42 s"),
            (12_340, "12.3 s"),
            (185_000, "3 min 05 s"),
            (7_620_000, "2 h 07 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(rate(10 << 20, Duration::from_secs(2)), "5.00 MiB/s");
    }

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 1_000_000), "1 %");
        assert_eq!(percent(999_999, 1_000_000), "99 %");
        assert_eq!(percent(10, 10), "100 %");
        assert_eq!(percent(0, 0), "0 %");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!((count(1, "chunk"), count(0, "chunk")), ("1 chunk".to_owned(), "0 chunks".to_owned()));
    }
}
