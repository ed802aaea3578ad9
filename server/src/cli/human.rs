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

/// Reads a size: `64GiB`, `1.5 TiB`, `500GB`, `4096`. Units with an `i` are powers of 1024, those without powers of 1000.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size; write it as in 64GiB, 500GB or 4096");
    let text_of_number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[text_of_number.len()..].to_ascii_lowercase();
    let number: f64 = text_of_number.trim().parse().map_err(|_| bad())?;
    let power = |letter: &str| "kmgtpe".find(letter).map(|at| at as i32 + 1);
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        unit => {
            let letter = unit.get(..1).ok_or_else(bad)?;
            let base: f64 = match &unit[1..] {
                "b" => 1000.0,
                "ib" | "" => 1024.0,
                _ => return Err(bad()),
            };
            base.powi(power(letter).ok_or_else(bad)?)
        }
    };
    let bytes = number * factor;
    // Also refuses what is not a number at all.
    if bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
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
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64GiB", 64 << 30),
            ("64 gib", 64 << 30),
            ("64G", 64 << 30),
            ("500GB", 500_000_000_000),
            ("1.5KiB", 1536),
            ("7b", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1", "1XB", "1GiBit", "nan", "1e30EiB", "ü", "1é"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

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
