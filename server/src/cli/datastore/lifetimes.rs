//! The options that say for how long requests are good.

use clap::Args;

/// A `Date` is whole seconds: less would be no margin.
const MARGIN_SECONDS_MIN: u64 = 2;
/// The longest that makes sense: S3 takes no request for longer than 15 minutes.
const SECONDS_MAX: u64 = 900;

/// For how long requests that must not be late are good.
#[derive(Debug, Args)]
#[command(next_help_heading = "Bucket")]
pub(super) struct Lifetimes {
    /// Seconds for which requests are good that must not take effect late; a rebuild waits so long for those of whoever
    /// had the bucket before.
    ///
    /// Default: what the server was found to enforce, one minute where it enforces the expiry of presigned requests.
    /// Shorter makes rebuilds faster and fails more requests of a slow server or network. A server that does not enforce
    /// it is refused without --accept-late-requests. All servers that have the bucket one after the other need the same.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub(super) request_lifetime: Option<u64>,
    /// Seconds that the server's clock must show beyond that, also for requests that it took in time and is not done with;
    /// default: 90.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(MARGIN_SECONDS_MIN..=SECONDS_MAX))]
    pub(super) expiry_margin: Option<u64>,
}
