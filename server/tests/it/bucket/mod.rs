//! Datastores in buckets, on an S3 server in memory.

mod adopt;
mod command;
mod create;
mod life;
mod manage;
mod scene;
mod trouble;
