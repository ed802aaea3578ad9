//! Limits that all clones of a client share: requests at once, requests per second, bytes per second.

mod rate;

pub use rate::Rate;
pub(crate) use rate::{Bucket, Pace, Waited};

use crate::config::ConfigError;

/// How much a client and all its clones do at once and per second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    requests_in_flight: usize,
    requests: Option<Rate>,
    upload: Option<Rate>,
    download: Option<Rate>,
}

impl Limits {
    /// Sets how many requests may be under way at once; further ones wait for their turn, without a bound of their own. An
    /// [`ObjectStream`](crate::ObjectStream) that is not read to its end holds its place.
    ///
    /// # Errors
    /// [`ConfigError::Zero`] for 0, at which nothing would ever be sent.
    pub fn with_requests_in_flight(mut self, count: usize) -> Result<Limits, ConfigError> {
        if count == 0 {
            return Err(ConfigError::Zero { name: "requests in flight" });
        }
        // The most that the semaphore behind it counts.
        self.requests_in_flight = count.min(tokio::sync::Semaphore::MAX_PERMITS);
        Ok(self)
    }

    /// Limits attempts per second.
    #[must_use]
    pub fn with_requests(mut self, rate: Rate) -> Limits {
        self.requests = Some(rate);
        self
    }

    /// Limits bytes of bodies sent per second.
    #[must_use]
    pub fn with_upload(mut self, rate: Rate) -> Limits {
        self.upload = Some(rate);
        self
    }

    /// Limits bytes of bodies received per second.
    #[must_use]
    pub fn with_download(mut self, rate: Rate) -> Limits {
        self.download = Some(rate);
        self
    }

    /// Returns how many requests may be under way at once.
    pub fn requests_in_flight(&self) -> usize {
        self.requests_in_flight
    }

    /// Returns the limit of attempts per second.
    pub fn requests(&self) -> Option<Rate> {
        self.requests
    }

    /// Returns the limit of bytes sent per second.
    pub fn upload(&self) -> Option<Rate> {
        self.upload
    }

    /// Returns the limit of bytes received per second.
    pub fn download(&self) -> Option<Rate> {
        self.download
    }
}

impl Default for Limits {
    /// 256 requests at once, no rates.
    fn default() -> Limits {
        Limits { requests_in_flight: 256, requests: None, upload: None, download: None }
    }
}
