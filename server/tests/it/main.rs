//! Integration tests of the server: real connections to a real server, in this process or as the `coldkeep` binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod ask;
mod audit;
mod authorisation;
mod backup_protocol;
mod bad_input;
mod bucket;
mod cli;
mod contract;
mod conversation;
mod directories;
mod disk_full;
mod embedded;
mod harness;
mod identity;
mod in_bucket;
mod jobs;
mod kill;
mod live;
mod material;
mod moves;
mod on_server;
mod operations;
mod process;
mod prune;
mod reader_protocol;
mod reference;
mod remotes;
mod replication;
mod rest;
mod roundtrip;
mod site;
mod small_endpoints;
mod store_config;
mod transport;
mod wire;
