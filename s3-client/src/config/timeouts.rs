//! How long a request may take.

use std::time::Duration;

use super::ConfigError;

/// Bounds for connecting, for one attempt, and for a request with all its attempts.
///
/// The bound of an attempt grows with its payload, so that a large upload on a slow line is not cut while it makes progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    connect: Duration,
    attempt: Duration,
    bytes_per_second_min: u64,
    overall: Duration,
}

impl Timeouts {
    /// Sets the bounds: `connect` for TCP and TLS, `attempt` for one attempt without payload, `overall` for a request with all its
    /// attempts and the pauses between them, payload again not counted.
    ///
    /// # Errors
    /// [`ConfigError::TooShort`] if one is zero, or one does not leave room for those within it.
    pub fn new(connect: Duration, attempt: Duration, overall: Duration) -> Result<Timeouts, ConfigError> {
        let least = Duration::from_millis(1);
        let bounds = [("connect timeout", connect, least), ("attempt timeout", attempt, connect.max(least))];
        for (name, value, least) in bounds.into_iter().chain([("overall timeout", overall, attempt)]) {
            if value < least {
                return Err(ConfigError::TooShort { name, value, least });
            }
        }
        Ok(Timeouts { connect, attempt, overall, ..Timeouts::default() })
    }

    /// Sets the slowest transfer that still counts as progress; the bounds grow by payload divided by this rate.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] for 0, which would mean no bound at all.
    pub fn with_bytes_per_second_min(mut self, rate: u64) -> Result<Timeouts, ConfigError> {
        if rate == 0 {
            return Err(ConfigError::Zero { name: "bytes_per_second_min" });
        }
        self.bytes_per_second_min = rate;
        Ok(self)
    }

    /// Returns the bound for connecting.
    pub fn connect(&self) -> Duration {
        self.connect
    }

    /// Returns the bound for one attempt that sends or receives `payload_bytes`.
    pub fn attempt(&self, payload_bytes: u64) -> Duration {
        self.attempt.saturating_add(self.transfer(payload_bytes))
    }

    /// Returns the bound for a request with all its attempts, each of which sends or receives `payload_bytes`.
    pub fn overall(&self, payload_bytes: u64) -> Duration {
        self.overall.saturating_add(self.transfer(payload_bytes))
    }

    fn transfer(&self, payload_bytes: u64) -> Duration {
        Duration::from_secs(payload_bytes / self.bytes_per_second_min)
    }
}

impl Default for Timeouts {
    /// 10 s to connect, 30 s an attempt, 5 min altogether, at least 64 KiB/s. An attempt stays below the 60 s for which a delete is
    /// signed, so that a request without an answer cannot outlive what the journal says about it (R9 of Coldkeep's design).
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            attempt: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
            overall: Duration::from_mins(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn bounds_grow_with_the_payload() {
        let timeouts = Timeouts::new(SECOND, 2 * SECOND, 9 * SECOND).unwrap();
        let timeouts = timeouts.with_bytes_per_second_min(1 << 20).unwrap();
        assert_eq!(timeouts.connect(), SECOND);
        assert_eq!(timeouts.attempt(0), 2 * SECOND);
        assert_eq!(timeouts.attempt(16 << 20), 18 * SECOND);
        assert_eq!(timeouts.overall(16 << 20), 25 * SECOND);
        assert!(timeouts.attempt(u64::MAX) > timeouts.attempt(1 << 40));
    }

    #[test]
    fn each_bound_contains_the_one_before() {
        for (connect, attempt, overall) in [(0, 1, 1), (2, 1, 3), (1, 3, 2)] {
            let seconds = Duration::from_secs;
            let error = Timeouts::new(seconds(connect), seconds(attempt), seconds(overall)).unwrap_err();
            assert!(matches!(error, ConfigError::TooShort { .. }), "{error}");
        }
        assert!(Timeouts::default().with_bytes_per_second_min(0).is_err());
    }

    #[test]
    fn the_default_is_valid() {
        let Timeouts { connect, attempt, overall, .. } = Timeouts::default();
        assert_eq!(Timeouts::new(connect, attempt, overall).unwrap(), Timeouts::default());
    }
}
