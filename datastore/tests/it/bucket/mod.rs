//! The datastore in a bucket, whose every request a test can stop.

mod commit;
mod copy;
mod mark;
mod mirror;
mod prefix;
mod refresh;
mod removal;
mod tags;
mod waits;
