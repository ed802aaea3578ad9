//! The few requests of FUSE that a filesystem in memory needs (Linux, `include/uapi/linux/fuse.h`, version 7.31).
//!
//! No library does this: those there are do not know `FUSE_SYNCFS`, without which a `syncfs` of the process would be
//! nothing that this layer sees.

mod reply;
mod request;
mod session;

pub(crate) use self::session::{Power, Shared, serve};
