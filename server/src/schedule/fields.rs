//! Sets of what a part of a date or time may be.

use jiff::civil::Weekday;

/// Numbers from 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field(u64);

impl Field {
    pub(super) const fn only(value: u32) -> Self {
        Self(1 << value)
    }

    /// All numbers of a unit.
    pub(super) fn all(unit: &Unit) -> Self {
        Self::default_of(unit.first..=unit.last)
    }

    fn default_of(values: impl Iterator<Item = u32>) -> Self {
        Self(values.fold(0, |set, value| set | 1 << value))
    }

    pub(super) fn of(steps: &[Steps]) -> Self {
        Self::default_of(steps.iter().flat_map(Steps::values))
    }

    pub(super) const fn has(self, value: u32) -> bool {
        value < 64 && self.0 >> value & 1 == 1
    }

    /// Returns the smallest number that is in the set and not below `from`.
    pub(super) const fn at_or_after(self, from: u32) -> Option<u32> {
        if from >= 64 {
            return None;
        }
        let left = self.0 >> from << from;
        if left == 0 { None } else { Some(left.trailing_zeros()) }
    }
}

/// Years, as they were written: there are too many for a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Years(pub(super) Vec<Steps>);

impl Years {
    /// Returns the first year that is one of them and not before `from`.
    pub(super) fn at_or_after(&self, from: u32) -> Option<u32> {
        self.0.iter().filter_map(|steps| steps.at_or_after(from)).min()
    }
}

/// Days of the week; bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(u8);

impl Days {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0b111_1111);

    /// Adds the days from `first` to `last`, which may lie in the next week.
    pub(super) fn add(&mut self, first: Weekday, last: Weekday) {
        let mut day = first;
        self.0 |= 1 << day.to_monday_zero_offset();
        while day != last {
            day = day.next();
            self.0 |= 1 << day.to_monday_zero_offset();
        }
    }

    pub(super) fn has(self, day: Weekday) -> bool {
        self.0 >> day.to_monday_zero_offset() & 1 == 1
    }
}

/// What numbers a part of a date or time may have.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    /// The first that is accepted. Day and month 0 are, and never come.
    pub(super) min: u32,
    /// Where `*` begins.
    pub(super) first: u32,
    pub(super) last: u32,
}

pub(super) const YEAR: Unit = Unit { name: "year", min: 0, first: 0, last: 2199 };
pub(super) const MONTH: Unit = Unit { name: "month", min: 0, first: 1, last: 12 };
pub(super) const DAY: Unit = Unit { name: "day", min: 0, first: 1, last: 31 };
pub(super) const HOUR: Unit = Unit { name: "hour", min: 0, first: 0, last: 23 };
pub(super) const MINUTE: Unit = Unit { name: "minute", min: 0, first: 0, last: 59 };
pub(super) const SECOND: Unit = Unit { name: "second", min: 0, first: 0, last: 59 };

/// Every so many numbers from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) first: u32,
    pub(super) last: u32,
    /// At least 1.
    pub(super) step: u32,
}

impl Steps {
    fn values(&self) -> impl Iterator<Item = u32> + use<> {
        (self.first..=self.last).step_by(self.step as usize)
    }

    fn at_or_after(&self, from: u32) -> Option<u32> {
        let steps = from.saturating_sub(self.first).div_ceil(self.step);
        let value = self.first + steps * self.step;
        (value <= self.last).then_some(value)
    }
}
