//! Mark-and-sweep collection of unreferenced chunks that cannot lose one in use.
mod collect;
mod control;
mod mark;
mod missing;
mod options;
mod references;
mod report;
mod store;
mod sweep;
mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod verdict;

pub use collect::{CollectError, collect};
pub use control::{Control, Phase, Progress};
pub use missing::{BROKEN_INDEXES_MAX, MISSING_SAMPLE_MAX};
pub use options::{GRACE_DEFAULT, MARGIN_DEFAULT, Options};
pub use references::{Outcome, References, Sink};
pub use report::{BrokenIndex, End, Missing, PhaseTime, Report, Tally};
pub use store::StoreSweepError;
pub use target::{Description, Page, Removal, RunTimes, SweepTarget};
pub use verdict::{Candidate, Verdict, verdict};
