//! The S3 server in memory.
//!
//! Operations are pure functions from the state and a whole request to an answer (`buckets`, `objects`, `copy`, `listing`, `deletion`,
//! `multipart`); `server` gathers the request and sends the answer.

mod answer;
mod auth;
mod buckets;
mod copy;
mod deletion;
mod hashes;
pub(crate) mod held;
mod listing;
pub(crate) mod log;
mod multipart;
pub(crate) mod object;
mod objects;
pub(crate) mod options;
mod request;
pub(crate) mod server;
mod store;
mod xml;
