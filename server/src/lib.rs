//! The Coldkeep backup server and command line.

pub mod api;
pub mod auth;
pub mod cli;
pub mod collect;
pub mod embedded;
pub mod http;
mod limits;
mod protocol;
mod server;
pub mod state;
pub mod tasks;
mod verify;

pub use limits::Limits;
pub use server::{Server, ServerError, ServerOptions};
