//! Tests of the client through its public face, a module a topic.
//!
//! The transport is scripted and the clock is the test's: counts of attempts, outcomes and pauses are asserted, and nothing sleeps.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod cancel;
mod credentials;
mod deadlines;
mod delete_batch;
mod downloads;
mod limits;
mod listing;
mod observing;
mod presigned;
mod put_new;
mod retry_stops;
mod retry_table;
mod scripted;
mod secrets;
mod skew;
mod sticky;
mod streams;
mod uploads;
