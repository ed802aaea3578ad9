//! In-memory implementations of the traits and their conformance suites (feature `testing`).

mod clock;

pub use clock::ManualClock;
