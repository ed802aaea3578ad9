//! Reads calendar events (spec `calendar.md` §1.1).

use jiff::civil::Weekday;

use super::fields::{DAY, Days, Field, HOUR, MINUTE, MONTH, SECOND, Steps, Unit, YEAR, Years};
use super::{CalendarEvent, TEXT_BYTES_MAX};

/// A text that is no calendar event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalendarError {
    /// It is too long.
    #[error("a calendar event has at most {TEXT_BYTES_MAX} bytes")]
    Length,
    /// Something else should stand at a place.
    #[error("expected {expected} at {place}, as in \"mon..fri 02:30\", \"*-1,15 4:00\" or \"hourly\"")]
    Expected {
        /// What should.
        expected: &'static str,
        /// What is there instead.
        place: String,
    },
    /// A number is out of its range.
    #[error("{number} is no {unit}: {min} to {max} are")]
    Range {
        /// The number.
        number: u64,
        /// What it should be.
        unit: &'static str,
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// A range ends before it begins.
    #[error("the range {first}..{last} of a {unit} ends before it begins")]
    Order {
        /// Its first number.
        first: u32,
        /// Its last.
        last: u32,
        /// What they are.
        unit: &'static str,
    },
    /// A step of zero that would repeat everything.
    #[error("*/0 has no step")]
    NoStep,
}

/// Words for events, and what they stand for.
const KEYWORDS: [(&str, &str); 10] = [
    ("minutely", "*:*"),
    ("hourly", "*:00"),
    ("daily", "*-* 00:00"),
    ("weekly", "mon 00:00"),
    ("monthly", "*-1 00:00"),
    ("quarterly", "1,4,7,10-1 00:00"),
    ("semiannually", "1,7-1 00:00"),
    ("semi-annually", "1,7-1 00:00"),
    ("yearly", "1-1 00:00"),
    ("annually", "1-1 00:00"),
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

pub(super) fn parse(text: &str) -> Result<CalendarEvent, CalendarError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(CalendarError::Length);
    }
    let (event, is_utc) = match text.strip_suffix("UTC") {
        Some(event) => (event.trim_end_matches([' ', '\t']), true),
        None => (text, false),
    };
    let event = KEYWORDS.iter().find(|(word, _)| *word == event).map_or(event, |(_, stands_for)| stands_for);
    let mut parser = Parser { rest: event };
    if event.is_empty() {
        return Err(parser.expected("days, a date or a time"));
    }
    let days = parser.days()?;
    let (years, months, days_of_month, time) = parser.date_and_time()?;
    let [hours, minutes, seconds] = time;
    if !parser.rest.is_empty() {
        return Err(parser.expected("the end"));
    }
    let text = text.to_owned();
    Ok(CalendarEvent { text, is_utc, days, years, months, days_of_month, hours, minutes, seconds })
}

/// A list of numbers before it is known what they are.
enum List {
    /// `*`, with or without a step.
    Any {
        step: Option<u32>,
    },
    Values(Vec<Value>),
}

struct Value {
    first: u32,
    last: Option<u32>,
    step: Option<u32>,
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn expected(&self, expected: &'static str) -> CalendarError {
        let place = match self.rest.chars().next() {
            None => "the end".to_owned(),
            Some(_) => format!("{:?}", self.rest.chars().take(16).collect::<String>()),
        };
        CalendarError::Expected { expected, place }
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Skips blanks between two parts.
    fn skip_blanks(&mut self) -> Result<(), CalendarError> {
        let rest = self.rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() && !self.rest.is_empty() {
            return Err(self.expected("no blanks"));
        }
        self.rest = rest;
        Ok(())
    }

    /// Reads the days of the week, and the blanks behind them if something follows; all days if none are named.
    fn days(&mut self) -> Result<Days, CalendarError> {
        if !self.rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(Days::ALL);
        }
        let mut days = Days::NONE;
        loop {
            let first = self.weekday()?;
            let last = if self.skip("..") { self.weekday()? } else { first };
            days.add(first, last);
            if !self.skip(",") {
                break;
            }
        }
        self.skip_blanks()?;
        Ok(days)
    }

    fn weekday(&mut self) -> Result<Weekday, CalendarError> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let is_day = |name: &str| word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..3]);
        let Some((_, day)) = WEEKDAYS.iter().find(|(name, _)| is_day(name)) else {
            return Err(self.expected("a day of the week"));
        };
        self.rest = rest;
        Ok(*day)
    }

    /// Reads what follows the days of the week: years, months, days, and hours, minutes and seconds.
    fn date_and_time(&mut self) -> Result<(Years, Field, Field, [Field; 3]), CalendarError> {
        let every_day = (vec![whole(&YEAR)], Field::all(&MONTH), Field::all(&DAY));
        let midnight = [Field::only(0); 3];
        let ((years, months, days), time) = if self.rest.is_empty() {
            // Only after days of the week: nothing at all is no event.
            (every_day, midnight)
        } else {
            let first = self.list()?;
            if self.skip("-") {
                let date = self.date(first)?;
                self.skip_blanks()?;
                let time = if self.rest.is_empty() {
                    midnight
                } else {
                    let first = self.list()?;
                    self.time(first)?
                };
                (date, time)
            } else {
                (every_day, self.time(first)?)
            }
        };
        Ok((Years(years), months, days, time))
    }

    /// Reads the rest of a date after its first list and the hyphen.
    fn date(&mut self, first: List) -> Result<(Vec<Steps>, Field, Field), CalendarError> {
        let second = self.list()?;
        if !self.skip("-") {
            return Ok((vec![whole(&YEAR)], field(first, &MONTH)?, field(second, &DAY)?));
        }
        let third = self.list()?;
        Ok((steps(first, &YEAR)?, field(second, &MONTH)?, field(third, &DAY)?))
    }

    /// Reads the rest of a time after its first list.
    fn time(&mut self, first: List) -> Result<[Field; 3], CalendarError> {
        if !self.skip(":") {
            return Ok([Field::all(&HOUR), field(first, &MINUTE)?, Field::only(0)]);
        }
        let (hours, minutes) = (field(first, &HOUR)?, self.list()?);
        let minutes = field(minutes, &MINUTE)?;
        let seconds = if self.skip(":") { field(self.list()?, &SECOND)? } else { Field::only(0) };
        Ok([hours, minutes, seconds])
    }

    fn list(&mut self) -> Result<List, CalendarError> {
        if self.skip("*") {
            let step = if self.skip("/") { Some(self.number()?) } else { None };
            return if step == Some(0) { Err(CalendarError::NoStep) } else { Ok(List::Any { step }) };
        }
        let mut values = Vec::new();
        loop {
            let first = self.number()?;
            let last = if self.skip("..") { Some(self.number()?) } else { None };
            let step = if self.skip("/") { Some(self.number()?) } else { None };
            values.push(Value { first, last, step });
            if !self.skip(",") {
                return Ok(List::Values(values));
            }
        }
    }

    /// Reads a number; one that is far out of every range becomes the largest.
    fn number(&mut self) -> Result<u32, CalendarError> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.expected("a number or *"));
        }
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(digits.parse().unwrap_or(u32::MAX))
    }
}

fn whole(unit: &Unit) -> Steps {
    Steps { first: unit.first, last: unit.last, step: 1 }
}

fn field(list: List, unit: &Unit) -> Result<Field, CalendarError> {
    Ok(Field::of(&steps(list, unit)?))
}

/// Checks a list of numbers of a unit.
fn steps(list: List, unit: &Unit) -> Result<Vec<Steps>, CalendarError> {
    let values = match list {
        List::Any { step } => return Ok(vec![Steps { step: step.unwrap_or(1), ..whole(unit) }]),
        List::Values(values) => values,
    };
    let check = |number: u32| {
        if (unit.min..=unit.last).contains(&number) {
            return Ok(number);
        }
        Err(CalendarError::Range { number: number.into(), unit: unit.name, min: unit.min, max: unit.last })
    };
    let steps = |Value { first, last, step }| {
        let first = check(first)?;
        let last = match (last, step) {
            (Some(last), _) => check(last)?,
            (None, Some(1..)) => unit.last,
            (None, None | Some(0)) => first,
        };
        if last < first {
            return Err(CalendarError::Order { first, last, unit: unit.name });
        }
        Ok(Steps { first, last, step: step.unwrap_or(1).max(1) })
    };
    values.into_iter().map(steps).collect()
}
