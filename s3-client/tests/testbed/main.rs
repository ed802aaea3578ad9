//! The client with its own transport against the server and the proxy of the test bed, which misbehave to order: what is asserted is how often it tried, what it says that it did,
//! and what the server really holds afterwards.
//!
//! This binary stands beside `tests/it` because it needs what that does without: sockets, a server and a proxy (`coldkeep-s3-testbed`).
//! Time is the test's own all the same, for client and server alike, and nothing sleeps: a test waits for events of the proxy.
//!
//! [`points`] says where each of the 19 points of spec `s3-servers.md` §3 is tested.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod chance;
mod downloads;
mod early;
mod errors;
mod hostile;
mod late;
mod points;
mod probe;
mod race;
mod resets;
mod scene;
mod stale;
mod writes;
