//! The client over an in-memory connection to a small server that follows a script.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not inside a test function")]

mod kept;
mod push;
mod rest;
mod server;
mod session;
mod stored;
