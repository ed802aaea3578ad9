//! The datastore through its public interface, on real folders and the real chunk store.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

mod backup;
mod begin;
mod bucket;
mod collect;
mod hazards;
mod support;
mod tree;
mod vector;
mod verify;
