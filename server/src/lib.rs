//! The Coldkeep backup server and command line.

pub mod api;
pub mod auth;
mod server;
pub mod tasks;

pub use server::Server;
