//! The next time compared with a search through all of them.

use jiff::civil::DateTime;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const ZONES: [&str; 4] = [
    "UTC0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
];

/// Unix times shortly before something changes: clocks, a leap day, a year.
const SCENES: [i64; 6] =
    [1_711_843_200, 1_729_987_200, 1_712_412_000, 1_712_455_200, 1_709_161_200, 1_735_686_000];

/// Minutes that are searched.
const MINUTES: i64 = 9 * 24 * 60;

/// A list as it is written, with the numbers that it stands for.
type List = (String, Vec<i8>);

/// Lists of numbers from `first` to `last`.
fn list(first: i8, last: i8) -> impl Strategy<Value = List> {
    let value = (first..=last, option::of(first..=last), option::of(0..=last));
    let values = vec(value, 1..4).prop_map(move |values| {
        let (mut texts, mut all) = (Vec::new(), Vec::new());
        for (a, b, step) in values {
            let end = b.map(|b| b.max(a));
            let mut text = a.to_string();
            text += &end.map_or_else(String::new, |end| format!("..{end}"));
            text += &step.map_or_else(String::new, |step| format!("/{step}"));
            texts.push(text);
            let end = match (end, step) {
                (Some(end), _) => end,
                (None, Some(1..)) => last,
                (None, _) => a,
            };
            all.extend((a..=end).filter(|number| (number - a) % step.unwrap_or(1).max(1) == 0));
        }
        (texts.join(","), all)
    });
    let any = option::of(1..=last).prop_map(move |step| {
        let text = step.map_or_else(|| "*".to_owned(), |step| format!("*/{step}"));
        (text, (first..=last).filter(|number| (number - first) % step.unwrap_or(1) == 0).collect())
    });
    prop_oneof![values, any]
}

#[derive(Debug, Clone)]
struct Event {
    text: String,
    /// Days of the week from Monday, 0 to 6.
    days: Vec<i8>,
    month: Vec<i8>,
    day: Vec<i8>,
    hour: Vec<i8>,
    minute: Vec<i8>,
}

fn events() -> impl Strategy<Value = Event> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let days = option::of((0..7_i8, 0..7_i8));
    let date = option::of((list(1, 12), list(1, 31)));
    (days, date, list(0, 23), list(0, 59)).prop_map(move |(days, date, hour, minute)| {
        let mut parts = Vec::new();
        let mut on = (0..7).collect();
        if let Some((a, b)) = days {
            parts.push(format!("{}..{}", names[a as usize], names[b as usize]));
            let count = (b - a).rem_euclid(7);
            on = (0..=count).map(|more| (a + more) % 7).collect();
        }
        let all = || ((1..=12).collect(), (1..=31).collect());
        let (month, day) = date.map_or_else(all, |(month, day)| {
            parts.push(format!("{}-{}", month.0, day.0));
            (month.1, day.1)
        });
        parts.push(format!("{}:{}", hour.0, minute.0));
        let text = parts.join(" ");
        Event { text, days: on, month, day, hour: hour.1, minute: minute.1 }
    })
}

impl Event {
    fn is_at(&self, local: DateTime) -> bool {
        self.days.contains(&local.weekday().to_monday_zero_offset())
            && self.month.contains(&local.month())
            && self.day.contains(&local.day())
            && self.hour.contains(&local.hour())
            && self.minute.contains(&local.minute())
    }

    /// Goes through all minutes of some days.
    fn search(&self, after: i64, zone: &TimeZone) -> Option<Timestamp> {
        let every_hour = (0..24).all(|hour| self.hour.contains(&hour));
        let first = after.div_euclid(60) + 1;
        let times = (first..first + MINUTES).map(|minute| Timestamp::from_second(minute * 60).unwrap());
        times.into_iter().find(|time| {
            let local = zone.to_datetime(*time);
            let later = zone.to_ambiguous_timestamp(local).later().unwrap();
            self.is_at(local) && (every_hour || later == *time)
        })
    }
}

proptest! {
    #[test]
    fn the_next_time_is_what_a_search_finds(
        event in events(),
        zone in select(&ZONES),
        scene in select(&SCENES),
        more in 0..7200_i64,
    ) {
        let zone = TimeZone::posix(zone).unwrap();
        let after = scene + more;
        let parsed: CalendarEvent = event.text.parse().unwrap();
        let next = parsed.next_after(Timestamp::from_second(after).unwrap(), &zone);
        match event.search(after, &zone) {
            Some(found) => prop_assert_eq!(next, Some(found), "{}", event.text),
            None => prop_assert!(next.is_none_or(|next| next.as_second() > after + MINUTES * 60 - 60)),
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "[a-z*0-9,./: -]{0,20}|\\PC{0,12}") {
        if let Ok(event) = text.parse::<CalendarEvent>() {
            let after = Timestamp::from_second(SCENES[0]).unwrap();
            let next = event.next_after(after, &TimeZone::UTC);
            prop_assert!(next.is_none_or(|next| next > after));
        }
    }
}
