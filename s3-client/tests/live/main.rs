//! The suite of this client on a real server: `cargo xtask matrix` runs it on several, and on any that a user has.
//!
//! The server comes from the environment (see [`env`]); without one nothing runs and nothing is claimed. To add a test, write an
//! `async fn name(env: Env)` that panics on failure in the module of its operation, and add a line to [`TESTS`]. A test uses keys of
//! [`env::Env::key`] only, and names what it needs of a server: where that is lacking it is reported as ignored.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod bucket;
mod env;
mod runner;
mod smoke;

use std::process::ExitCode;

use crate::runner::{Test, test};

const TESTS: &[Test] = &[test!(smoke::an_object_comes_and_goes)];

fn main() -> ExitCode {
    runner::run(TESTS)
}
