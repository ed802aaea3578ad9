//! The examples of spec `calendar.md` §1.3.

use jiff::civil::DateTime;

use super::*;

/// The rules of Europe/Vienna.
const VIENNA: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Returns the next time after a local one, as a local one.
fn next(event: &str, after: &str, zone: &str) -> Option<String> {
    let zone = TimeZone::posix(zone).unwrap();
    let after: DateTime = after.parse().unwrap();
    let event: CalendarEvent = event.parse().unwrap();
    let next = event.next_after(zone.to_timestamp(after).unwrap(), &zone)?;
    Some(zone.to_datetime(next).strftime("%a %F %T").to_string())
}

#[test]
fn the_next_time_is_the_first_later_one() {
    for (event, expected) in [
        ("mon..fri 02:30", "Mon 2024-03-18 02:30:00"),
        ("sat 18:15", "Sat 2024-03-16 18:15:00"),
        ("*/15", "Fri 2024-03-15 09:15:00"),
        ("8..17/3:00", "Fri 2024-03-15 11:00:00"),
        ("22:5/20", "Fri 2024-03-15 22:05:00"),
        ("9:0", "Sat 2024-03-16 09:00:00"),
        ("fri 9:00", "Fri 2024-03-22 09:00:00"),
        ("fri 9:00:01", "Fri 2024-03-15 09:00:01"),
        ("*:*:*/20", "Fri 2024-03-15 09:00:20"),
        ("sun..tue 12:00", "Sun 2024-03-17 12:00:00"),
        ("sat,sun 10..12:0/30", "Sat 2024-03-16 10:00:00"),
        ("*-1 3:30", "Mon 2024-04-01 03:30:00"),
        ("*-1,15 4:00", "Mon 2024-04-01 04:00:00"),
        ("*-5/10 6:0", "Mon 2024-03-25 06:00:00"),
        ("*-31", "Sun 2024-03-31 00:00:00"),
        ("mon *-1..7 18:00", "Mon 2024-04-01 18:00:00"),
        ("2-29 12:00", "Tue 2028-02-29 12:00:00"),
        ("2024-4..6/2-10 7:45", "Wed 2024-04-10 07:45:00"),
        ("2025-*-* 0:0", "Wed 2025-01-01 00:00:00"),
        ("quarterly", "Mon 2024-04-01 00:00:00"),
        ("semi-annually", "Mon 2024-07-01 00:00:00"),
        ("monthly", "Mon 2024-04-01 00:00:00"),
        ("yearly", "Wed 2025-01-01 00:00:00"),
        ("weekly", "Mon 2024-03-18 00:00:00"),
        ("hourly", "Fri 2024-03-15 10:00:00"),
        ("minutely", "Fri 2024-03-15 09:01:00"),
        ("Saturday,WED", "Sat 2024-03-16 00:00:00"),
        ("mon00:30", "Mon 2024-03-18 00:30:00"),
        ("30/0", "Fri 2024-03-15 09:30:00"),
    ] {
        assert_eq!(next(event, "2024-03-15T09:00:00", "UTC0").as_deref(), Some(expected), "{event}");
    }
}

#[test]
fn fields_are_those_of_local_time_unless_it_says_utc() {
    let february = "2024-02-28T10:07:30";
    for (event, after, expected) in [
        ("5/20", february, Some("Wed 2024-02-28 10:25:00")),
        ("fri..mon 6:15", february, Some("Fri 2024-03-01 06:15:00")),
        ("sun..tue 12", february, Some("Sun 2024-03-03 00:12:00")),
        ("daily UTC", february, Some("Thu 2024-02-29 01:00:00")),
        ("dailyUTC", february, Some("Thu 2024-02-29 01:00:00")),
        ("22..23/1:30", february, Some("Wed 2024-02-28 22:30:00")),
        ("2023-1..3-1/10", february, None),
        ("2-30", february, None),
        ("*-0", february, None),
        // Clocks are set from 2:00 to 3:00 on the 31st.
        ("2:30", "2024-03-30T12:00:00", Some("Mon 2024-04-01 02:30:00")),
        ("3:00", "2024-03-30T12:00:00", Some("Sun 2024-03-31 03:00:00")),
        ("*/7", "2024-12-31T23:58:59", Some("Wed 2025-01-01 00:00:00")),
    ] {
        assert_eq!(next(event, after, VIENNA).as_deref(), expected, "{event}");
    }
}

/// Goal: what comes twice when the clocks are set back happens once, but what comes every hour goes on.
#[test]
fn a_time_that_comes_twice_is_taken_once() {
    let zone = TimeZone::posix(VIENNA).unwrap();
    let times = |event: &str| {
        let event: CalendarEvent = event.parse().unwrap();
        // 2024-10-26 22:00 UTC is midnight; at 1:00 UTC the clocks are set from 3:00 to 2:00.
        let mut at: Timestamp = "2024-10-26T22:59:59Z".parse().unwrap();
        let mut times = Vec::new();
        while times.len() < 4 {
            at = event.next_after(at, &zone).unwrap();
            times.push(at.strftime("%H:%M").to_string());
        }
        times
    };
    assert_eq!(times("*:30"), ["23:30", "00:30", "01:30", "02:30"]);
    assert_eq!(times("1..3:30"), ["23:30", "01:30", "02:30", "00:30"]);
}

#[test]
fn what_is_no_event_is_refused_with_what_is_wrong() {
    for (bad, said) in [
        ("", "expected days, a date or a time at the end"),
        ("UTC", "expected days, a date or a time at the end"),
        ("2200-1-1", "2200 is no year: 0 to 2199 are"),
        ("*,5", "expected the end at \",5\""),
        ("*/0", "*/0 has no step"),
        ("1..5..7", "expected the end at \"..7\""),
        ("5..3", "the range 5..3 of a minute ends before it begins"),
        ("mon-fri", "expected a number or * at \"-fri\""),
        ("1,15 4:00", "expected the end at \" 4:00\""),
        ("10.5", "expected the end at \".5\""),
        ("10:00:00.5", "expected the end at \".5\""),
        ("10:00 Europe/Vienna", "expected the end at \" Europe/Vienna\""),
        (" 10:00", "expected a number or * at \" 10:00\""),
        ("10:00 ", "expected the end at \" \""),
        ("mon ", "expected no blanks at \" \""),
        ("*-1 ", "expected no blanks at \" \""),
        ("Daily", "expected a day of the week at \"Daily\""),
        ("mo 10:00", "expected a day of the week at \"mo 10:00\""),
        ("24:00", "24 is no hour: 0 to 23 are"),
        ("60", "60 is no minute: 0 to 59 are"),
        ("99999999999999999999", "is no minute"),
        ("13-1", "13 is no month: 0 to 12 are"),
        ("*-32", "32 is no day: 0 to 31 are"),
        ("1-", "expected a number or * at the end"),
        ("*:*:60", "60 is no second: 0 to 59 are"),
        ("täglich", "expected a day of the week at \"täglich\""),
    ] {
        let error = bad.parse::<CalendarEvent>().unwrap_err().to_string();
        assert!(error.contains(said), "{bad:?}: {error}");
    }
    assert_eq!("1,".repeat(300).parse::<CalendarEvent>().unwrap_err(), CalendarError::Length);
}

#[test]
fn an_event_is_shown_as_it_was_written() {
    for text in ["mon..fri 02:30", "dailyUTC", "hourly  UTC"] {
        assert_eq!(text.parse::<CalendarEvent>().unwrap().to_string(), text);
    }
}
