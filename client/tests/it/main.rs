//! The client over an in-memory connection to a small server that follows a script.

mod rest;
mod server;
mod session;
