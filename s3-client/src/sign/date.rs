//! The three forms of a date that S3 uses: in signatures, in HTTP headers, in XML.
//!
//! All take and give years 1970 to 9999 and answer `None` outside: a date comes from a server, and none of them may cause a panic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: u64 = 253_402_300_799;
const SECONDS_PER_DAY: u64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date as it stands in a signature: `20231114T221320Z` (S3 API reference, `x-amz-date`).
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use coldkeep_s3_client::sign::date::AmzDate;
/// let date = AmzDate::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
/// assert_eq!((date.as_str(), date.day()), ("20231114T221320Z", "20231114"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmzDate([u8; 16]);

impl AmzDate {
    /// Cuts `at` down to its second; `None` outside 1970 to 9999.
    pub fn new(at: SystemTime) -> Option<AmzDate> {
        let civil = Civil::of(at)?;
        let mut text = *b"00000000T000000Z";
        let fields = [
            (0, civil.year / 100),
            (2, civil.year % 100),
            (4, civil.month),
            (6, civil.day),
            (9, civil.hour),
            (11, civil.minute),
            (13, civil.second),
        ];
        for (at, value) in fields {
            text[at] += (value / 10) as u8;
            text[at + 1] += (value % 10) as u8;
        }
        Some(AmzDate(text))
    }

    /// Returns the date and time.
    #[expect(clippy::missing_panics_doc, reason = "cannot panic: ASCII is all that `new` writes")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("invariant: made of ASCII")
    }

    /// Returns the day alone, which the credential scope names.
    pub fn day(&self) -> &str {
        &self.as_str()[..8]
    }
}

/// Writes a date as HTTP headers have it: `Tue, 14 Nov 2023 22:13:20 GMT` (RFC 9110 §5.6.7, IMF-fixdate). Fractions are cut off.
pub fn format_http_date(at: SystemTime) -> Option<String> {
    let Civil { year, month, day, hour, minute, second } = Civil::of(at)?;
    let weekday = WEEKDAYS[(seconds(at)? / SECONDS_PER_DAY % 7) as usize];
    let month = MONTHS[month as usize - 1];
    Some(format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT"))
}

/// Reads a date of an HTTP header: IMF-fixdate and the two obsolete forms (RFC 9110 §5.6.7).
///
/// Lenient where servers are sloppy: the weekday is not compared, a day may have one digit, `UTC` and `+0000` pass for `GMT`. A
/// year of two digits is one from 1970 to 2069.
pub fn parse_http_date(text: &str) -> Option<SystemTime> {
    let mut words = [""; 6];
    let mut count = 0;
    for word in text.split([' ', '\t', ',', '-']).filter(|word| !word.is_empty()) {
        *words.get_mut(count)? = word;
        count += 1;
    }
    let ([_, day, month, year, time, "GMT" | "UTC" | "+0000"] | [_, month, day, time, year]) = words[..count]
    else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as u64 + 1;
    let year = match (year.len(), number(year)?) {
        (4, year) => year,
        (2, short) => short + if short < 70 { 2000 } else { 1900 },
        _ => return None,
    };
    let mut parts = time.splitn(3, ':').map(|part| if part.len() == 2 { number(part) } else { None });
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let day = if day.len() <= 2 { number(day)? } else { return None };
    instant(Civil { year, month, day, hour, minute, second }.seconds()?, 0)
}

/// Reads a date as S3 writes it in XML: `2023-11-14T22:13:20.000Z` (S3 API reference, `LastModified`).
///
/// Any number of fraction digits is taken, none included; those past the ninth are cut off. `t` or a space may stand for the `T`;
/// `Z`, an offset (`+01:00`, `+0100`, `+01`) or nothing, which means UTC, may follow.
pub fn parse_iso8601(text: &str) -> Option<SystemTime> {
    // Fixed places below are cut out of ASCII only, so that none falls into a character.
    let (date_time, mut rest) = text.is_ascii().then_some(text)?.split_at_checked(19)?;
    for (at, allowed) in [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")] {
        if !allowed.contains(&date_time[at..=at]) {
            return None;
        }
    }
    let field = |from: usize, to: usize| number(&date_time[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);

    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, after) = fraction.split_at(digits);
        nanos = match digits {
            0 => return None,
            1..=9 => number(fraction)? * 10_u64.pow(9 - digits as u32),
            _ => number(&fraction[..9])?,
        };
        rest = after;
    }
    let offset = offset_seconds(rest)?;
    let local = Civil { year, month, day, hour, minute, second }.seconds()?;
    instant(local.checked_sub_signed(offset)?, nanos as u32)
}

/// Reads what follows the time: how far it is ahead of UTC.
fn offset_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, digits) = match zone.split_at(1) {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at(2),
        5 => digits.split_once(':').filter(|(hours, _)| hours.len() == 2)?,
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) as i64)
}

/// Reads digits and nothing else; all callers bound their number.
fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn seconds(at: SystemTime) -> Option<u64> {
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()).filter(|seconds| *seconds <= SECONDS_MAX)
}

fn instant(seconds: u64, nanos: u32) -> Option<SystemTime> {
    if seconds > SECONDS_MAX {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// A date and time of the Gregorian calendar in UTC; month and day count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Days from 0000-03-01, where the years below begin, to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;
/// Days of the 400 years after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;

impl Civil {
    /// The years here begin in March, so that the leap day comes last, and months have 30.6 days on average from there on
    /// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    fn of(at: SystemTime) -> Option<Civil> {
        let seconds = seconds(at)?;
        let days = seconds / SECONDS_PER_DAY + EPOCH_DAYS;
        let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        Some(Civil { year, month, day, hour, minute, second })
    }

    /// Returns the seconds since 1970, if this is a date from then on. A leap second (`60`) is the second after.
    fn seconds(self) -> Option<u64> {
        let Civil { year, month, day, hour, minute, second } = self;
        let in_range = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !in_range {
            return None;
        }
        let year = year - u64::from(month <= 2);
        let month_from_march = (month + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * ERA_DAYS + day_of_era - EPOCH_DAYS;
        Some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
    }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn since_epoch(parsed: Option<SystemTime>) -> Option<Duration> {
        parsed.map(|at| at.duration_since(UNIX_EPOCH).unwrap())
    }

    #[test]
    fn known_instants_are_written() {
        let known = [
            (0, "19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "19941106T084937Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "20000229T000000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_369_353_600, "20130524T000000Z", "Fri, 24 May 2013 00:00:00 GMT"),
            (1_700_000_000, "20231114T221320Z", "Tue, 14 Nov 2023 22:13:20 GMT"),
            (4_107_542_400, "21000301T000000Z", "Mon, 01 Mar 2100 00:00:00 GMT"),
            (SECONDS_MAX, "99991231T235959Z", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, amz, http) in known {
            assert_eq!(AmzDate::new(at(seconds)).unwrap().as_str(), amz);
            assert_eq!(format_http_date(at(seconds)).unwrap(), http);
        }
        assert_eq!(AmzDate::new(at(1_700_000_000) + Duration::from_millis(999)).unwrap().day(), "20231114");
    }

    #[test]
    fn instants_out_of_range_are_refused() {
        for outside in [UNIX_EPOCH - Duration::from_nanos(1), at(SECONDS_MAX + 1), at(1 << 62)] {
            assert_eq!((AmzDate::new(outside), format_http_date(outside)), (None, None));
        }
    }

    // The three forms of one instant that RFC 9110 §5.6.7 shows, and what servers make of them.
    #[test]
    fn every_form_of_http_date_is_read() {
        let forms = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun, 6 nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 +0000",
            " Sun,06 Nov 1994  08:49:37 GMT ",
        ];
        for form in forms {
            assert_eq!(parse_http_date(form), Some(at(784_111_777)), "{form}");
        }
        assert_eq!(parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT"), Some(UNIX_EPOCH));
        assert_eq!(parse_http_date("Friday, 01-Jan-69 00:00:00 GMT"), Some(at(3_124_224_000)));
        assert_eq!(parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT"), Some(at(1_483_228_800)));
    }

    #[test]
    fn what_is_no_http_date_is_refused() {
        let bad = [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 006 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:49:37:11 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, é6 Nov 1994 08:49:37 GMT",
        ];
        for text in bad {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn every_form_of_listing_date_is_read() {
        let forms = [
            ("2023-11-14T22:13:20Z", 0),
            ("2023-11-14T22:13:20.000Z", 0),
            ("2023-11-14T22:13:20.5Z", 500_000_000),
            ("2023-11-14T22:13:20.123456Z", 123_456_000),
            ("2023-11-14T22:13:20.123456789Z", 123_456_789),
            ("2023-11-14T22:13:20.12345678999999999999999999Z", 123_456_789),
            ("2023-11-14t22:13:20,5z", 500_000_000),
            ("2023-11-14 22:13:20", 0),
            ("2023-11-14T23:13:20+01:00", 0),
            ("2023-11-14T16:43:20.5-0530", 500_000_000),
            ("2023-11-15T00:13:20+02", 0),
        ];
        for (form, nanos) in forms {
            assert_eq!(since_epoch(parse_iso8601(form)), Some(Duration::new(1_700_000_000, nanos)), "{form}");
        }
    }

    #[test]
    fn leap_days_are_those_of_the_gregorian_calendar() {
        let leap_day = |year: u32| parse_iso8601(&format!("{year}-02-29T00:00:00Z"));
        assert_eq!(leap_day(2000), Some(at(951_782_400)));
        assert_eq!(leap_day(2024), Some(at(1_709_164_800)));
        for year in [2023, 2100, 2200] {
            assert_eq!(leap_day(year), None, "{year}");
        }
    }

    #[test]
    fn what_is_no_listing_date_is_refused() {
        let bad = [
            "",
            "2023-11-14",
            "2023-11-14T22:13Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20ZZ",
            "2023-11-14T22:13:20+1",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+00:60",
            "2023-11-14T22:13:20é",
            "2023-11-14X22:13:20Z",
            "2023/11/14T22:13:20Z",
            "2023-13-14T22:13:20Z",
            "2023-00-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+023-11-14T22:13:20Z",
            "0000-00-00T00:00:00Z",
            "１023-11-14T22:13:20Z",
        ];
        for text in bad {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_instant_survives_the_round_trip(seconds in 0..=SECONDS_MAX, nanos in 0..1_000_000_000_u32) {
            let instant = at(seconds) + Duration::from_nanos(nanos.into());
            let http = format_http_date(instant).unwrap();
            prop_assert_eq!(parse_http_date(&http), Some(at(seconds)));

            let amz = AmzDate::new(instant).unwrap();
            let (day, time) = amz.as_str().split_once('T').unwrap();
            let iso = format!(
                "{}-{}-{}T{}:{}:{}.{nanos:09}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..6],
            );
            prop_assert_eq!(parse_iso8601(&iso), Some(instant));
        }

        #[test]
        fn later_days_have_later_dates(days in 0..SECONDS_MAX / SECONDS_PER_DAY) {
            let day = |days: u64| AmzDate::new(at(days * SECONDS_PER_DAY)).unwrap();
            prop_assert!(day(days).day() < day(days + 1).day());
        }

        #[test]
        fn reading_never_panics(text in any::<String>(), near in "[A-Za-z]{0,3}[0-9TZ:+., é-]{0,32}") {
            for text in [text, near] {
                let _ = (parse_http_date(&text), parse_iso8601(&text));
            }
        }
    }
}
