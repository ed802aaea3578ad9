//! Progress on a terminal: bytes, rate, share reused, remaining time. Nothing in a pipe.

use std::time::Duration;

use coldkeep_client::{Progress, ProgressSnapshot};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human;
use super::shell::Shell;

/// How often the counters are read.
const REFRESH: Duration = Duration::from_millis(200);

const KNOWN_TOTAL: &str =
    "{prefix}  {bar:24}  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}{msg}  {eta} left";
const UNKNOWN_TOTAL: &str = "{prefix}  {spinner}  {binary_bytes}  {binary_bytes_per_sec}{msg}  {elapsed}";

/// A line that shows how far a transfer is.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

/// Which counter moves the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes read from the sources of a backup.
    Read,
    /// Bytes written to the target of a restore.
    Written,
}

impl Bar {
    /// Makes the line; it is drawn only for a person. Without a total there is no remaining time.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = if total.is_some() { KNOWN_TOTAL } else { UNKNOWN_TOTAL };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if Shell::is_watched() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self(bar)
    }

    /// Says what is worked on.
    pub(crate) fn name(&self, name: &str) {
        self.0.set_prefix(name.to_owned());
    }

    /// Does the work and shows the counters meanwhile.
    pub(crate) async fn watch<T>(
        &self,
        measure: Measure,
        progress: &Progress,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(REFRESH);
        loop {
            tokio::select! {
                biased;
                result = &mut work => {
                    self.show(measure, progress.snapshot());
                    return result;
                }
                _ = ticks.tick() => self.show(measure, progress.snapshot()),
            }
        }
    }

    fn show(&self, measure: Measure, counters: ProgressSnapshot) {
        let position = match measure {
            Measure::Read => {
                self.0.set_message(reused(counters));
                counters.read_bytes
            }
            Measure::Written => counters.written_bytes,
        };
        self.0.set_position(position);
        self.0.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn reused(counters: ProgressSnapshot) -> String {
    let done = counters.reused_bytes + counters.transferred_bytes;
    format!("  {} reused", human::percent(counters.reused_bytes, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_well_formed() {
        assert!(ProgressStyle::with_template(KNOWN_TOTAL).is_ok());
        assert!(ProgressStyle::with_template(UNKNOWN_TOTAL).is_ok());
    }

    #[test]
    fn the_share_is_that_of_what_is_done() {
        let counters = ProgressSnapshot {
            read_bytes: 400,
            reused_bytes: 150,
            transferred_bytes: 50,
            ..ProgressSnapshot::default()
        };
        assert_eq!(reused(counters), "  75 % reused");
    }
}
