//! The backend for S3 servers, through sockets, against the server and the proxy of the test bed.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod faults;
mod layout;
mod lost;
mod scene;
mod server;
