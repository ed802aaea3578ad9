//! Integration tests of the server: real connections to a real server, in this process or as the `coldkeep` binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod backup_protocol;
mod cli;
mod embedded;
mod harness;
mod material;
mod process;
mod reader_protocol;
mod rest;
mod transport;
mod wire;
