//! What a caller says about a probe.

use std::time::Duration;

use thiserror::Error;

/// Most bytes of a prefix: room is left for keys of the longest kind below it.
pub const PROBE_PREFIX_BYTES_MAX: usize = 256;

/// Fewest and most writers of a race.
const WRITERS: std::ops::RangeInclusive<u32> = 2..=64;

/// Fewest and most races.
const RACES: std::ops::RangeInclusive<u32> = 1..=32;

/// How to probe: where, how hard, how long. The default suits most servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOptions {
    pub(super) parent: String,
    pub(super) writers: u32,
    pub(super) races: u32,
    pub(super) time_max: Duration,
}

/// The text cannot be what the probe's keys begin with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the prefix of a probe has at most {PROBE_PREFIX_BYTES_MAX} bytes, not {bytes}")]
pub struct InvalidPrefix {
    /// How many it has.
    pub bytes: usize,
}

impl Default for ProbeOptions {
    /// At the bucket's root, 3 races of 16 writers, 2 minutes.
    fn default() -> ProbeOptions {
        ProbeOptions { parent: String::new(), writers: 16, races: 3, time_max: Duration::from_mins(2) }
    }
}

impl ProbeOptions {
    /// Starts from the default.
    pub fn new() -> ProbeOptions {
        ProbeOptions::default()
    }

    /// Keeps all keys below this prefix, which ends in `/` if it should. A random part follows, so that probes do not meet each other nor
    /// anything that is there.
    ///
    /// # Errors
    /// It is too long.
    pub fn with_prefix(mut self, prefix: &str) -> Result<ProbeOptions, InvalidPrefix> {
        if prefix.len() > PROBE_PREFIX_BYTES_MAX {
            return Err(InvalidPrefix { bytes: prefix.len() });
        }
        prefix.clone_into(&mut self.parent);
        Ok(self)
    }

    /// Lets so many writers race for a key, 2 to 64; other numbers become the nearest of these. More see more, and cost more.
    ///
    /// Writers must meet to race: as many requests must be [allowed at once](crate::Limits::with_requests_in_flight), and a limit of the
    /// rate spreads them. Probe with a client that has none.
    #[must_use]
    pub fn with_writers(mut self, writers: u32) -> ProbeOptions {
        self.writers = writers.clamp(*WRITERS.start(), *WRITERS.end());
        self
    }

    /// Runs so many races of each kind, 1 to 32; other numbers become the nearest of these.
    #[must_use]
    pub fn with_races(mut self, races: u32) -> ProbeOptions {
        self.races = races.clamp(*RACES.start(), *RACES.end());
        self
    }

    /// Ends after this time, and tidies up then; what was not found out by then is reported as unknown.
    #[must_use]
    pub fn with_time_max(mut self, time: Duration) -> ProbeOptions {
        self.time_max = time;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_brought_in_or_refused() {
        let options = ProbeOptions::new().with_writers(1).with_races(1000);
        assert_eq!((options.writers, options.races), (2, 32));
        let error = ProbeOptions::new().with_prefix(&"x".repeat(257)).unwrap_err();
        assert_eq!(error, InvalidPrefix { bytes: 257 });
        assert_eq!(ProbeOptions::new().with_prefix("a/").unwrap().parent, "a/");
    }
}
