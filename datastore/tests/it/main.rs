//! The datastore through its public interface, on real folders and the real chunk store.

mod backup;
mod begin;
mod collect;
mod hazards;
mod support;
mod tree;
mod vector;
mod verify;
