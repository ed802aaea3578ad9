//! Finds the next time of an event (spec `calendar.md` §1.2).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan as _};

use super::CalendarEvent;
use super::fields::HOUR;

/// After so many changes of the clocks in which an event does not come it never does: more than up to the year 2199.
const CHANGES_MAX: usize = 1000;

pub(super) fn next_after(event: &CalendarEvent, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let mut from = Timestamp::from_second(after.as_second().checked_add(1)?).ok()?;
    // Between two changes of the clocks local time is a fixed distance from UTC.
    for _ in 0..CHANGES_MAX {
        let offset = zone.to_offset(from);
        let change = zone.following(from).next().map(|change| change.timestamp());
        loop {
            let found = match_from(event, offset.to_datetime(from))?;
            let Some(time) = to_timestamp(offset, found, change) else { break };
            if !is_left_to_second_pass(event, found, time, zone) {
                return Some(time);
            }
            from = Timestamp::from_second(time.as_second() + 1).ok()?;
        }
        from = change?;
    }
    None
}

/// Returns the instant of a local time, unless the clocks are changed before.
fn to_timestamp(offset: Offset, local: DateTime, change: Option<Timestamp>) -> Option<Timestamp> {
    let time = offset.to_timestamp(local).ok()?;
    change.is_none_or(|change| time < change).then_some(time)
}

/// Tells whether a local time comes again after the clocks are set back, and is taken then.
fn is_left_to_second_pass(event: &CalendarEvent, local: DateTime, time: Timestamp, zone: &TimeZone) -> bool {
    if (HOUR.first..=HOUR.last).all(|hour| event.hours.has(hour)) {
        return false;
    }
    zone.to_ambiguous_timestamp(local).later().is_ok_and(|later| later > time)
}

/// Returns the first local time of the event at or after `from`.
fn match_from(event: &CalendarEvent, from: DateTime) -> Option<DateTime> {
    let today = date_from(event, from.date())?;
    if today == from.date()
        && let Some(time) = time_from(event, from.time())
    {
        return Some(today.to_datetime(time));
    }
    let next_day = if today == from.date() { date_from(event, today.tomorrow().ok()?)? } else { today };
    Some(next_day.to_datetime(time_from(event, Time::midnight())?))
}

/// Returns the first date of the event at or after `from`.
fn date_from(event: &CalendarEvent, from: Date) -> Option<Date> {
    let mut date = from;
    loop {
        let (this_year, this_month) = (u32::try_from(date.year()).ok()?, date.month().unsigned_abs());
        let year = event.years.at_or_after(this_year)?;
        if year > this_year {
            date = Date::new(i16::try_from(year).ok()?, 1, 1).ok()?;
            continue;
        }
        let first_of_month = |year: i16, month: u32| Date::new(year, i8::try_from(month).ok()?, 1).ok();
        match event.months.at_or_after(this_month.into()) {
            None => date = Date::new(date.year().checked_add(1)?, 1, 1).ok()?,
            Some(month) if month > this_month.into() => date = first_of_month(date.year(), month)?,
            Some(_) => {
                let is_day = event.days_of_month.has(date.day().unsigned_abs().into());
                if is_day && event.days.has(date.weekday()) {
                    return Some(date);
                }
                date = date.checked_add(1.day()).ok()?;
            }
        }
    }
}

/// Returns the first time of day of the event at or after `from`.
fn time_from(event: &CalendarEvent, from: Time) -> Option<Time> {
    let [hour, minute, second] =
        [from.hour(), from.minute(), from.second()].map(|part| u32::from(part.unsigned_abs()));
    let time = |hour: u32, minute: u32, second: u32| {
        let [hour, minute, second] = [hour, minute, second].map(|part| i8::try_from(part).ok());
        Time::new(hour?, minute?, second?, 0).ok()
    };
    let (first_minute, first_second) = (event.minutes.at_or_after(0)?, event.seconds.at_or_after(0)?);
    if event.hours.has(hour) {
        if event.minutes.has(minute)
            && let Some(second) = event.seconds.at_or_after(second)
        {
            return time(hour, minute, second);
        }
        if let Some(minute) = event.minutes.at_or_after(minute + 1) {
            return time(hour, minute, first_second);
        }
    }
    time(event.hours.at_or_after(hour + 1)?, first_minute, first_second)
}
