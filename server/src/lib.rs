//! The Coldkeep backup server and command line.
//!
//! A server for the Proxmox Backup protocol: TLS, users and rights, tasks, the REST API, and backup and reader sessions over
//! HTTP/2. It keeps nothing itself: snapshots are the business of `coldkeep-datastore`, chunks of `coldkeep-chunk-store`,
//! garbage of `coldkeep-gc`. It is not a library for other servers; what is public serves the binary, tests and programs
//! that embed it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use coldkeep_chunk_store::SystemClock;
//! use coldkeep_server::{Limits, ServerOptions, embedded::Embedded};
//!
//! # async fn example() -> Result<(), coldkeep_server::ServerError> {
//! let clock = Arc::new(SystemClock::new());
//! let options = ServerOptions::new("/srv/coldkeep", clock, Limits::default());
//! let server = Embedded::open(options).await?;
//! let stream = server.connect(); // speaks HTTP/1.1, and HTTP/2 after an upgrade
//! drop(stream);
//! server.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! There are no cargo features.
//!
//! # Invariants
//!
//! - Parameters and privileges are checked in one place, [`api::Router`], by the table that also describes them; handlers see
//!   checked values only.
//! - What a peer can make the server hold is bounded ([`Limits`]), and so is every wait for a peer.
//! - Whatever is spawned is owned: requests by their connection, sessions and jobs by [`tasks::Tasks`], connections by their
//!   listener. When [`Server::shut_down`] completes, nothing runs any more.
//! - A change of users, tokens, rights or stores is durable before it is seen.

#[expect(clippy::unused_async, reason = "handlers are async by the type of their table")]
pub mod api;
pub mod audit;
pub mod auth;
pub mod bucket;
pub mod cli;
pub mod collect;
pub mod config;
pub mod embedded;
pub mod http;
pub mod jobs;
mod limits;
pub mod metrics;
mod operation;
mod pace;
#[expect(clippy::unused_async, reason = "handlers are async by the type of their table")]
mod protocol;
mod prune;
pub mod schedule;
mod server;
pub mod state;
mod sync;
pub mod tasks;
mod verify;

pub use limits::{AuditLimits, Bandwidth, Limits, LoginLimits};
pub use server::{Health, Server, ServerError, ServerOptions};
