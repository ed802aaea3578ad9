//! Integration tests of the server: real connections to a real server, in this process or as the `coldkeep` binary.

mod backup_protocol;
mod embedded;
mod harness;
mod material;
mod process;
mod reader_protocol;
mod rest;
mod transport;
mod wire;
