//! The server and the proxy, seen through a client that is nothing but a socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod client;
mod faults;
mod form;
mod listing;
mod multipart;
mod odds;
mod origin;
