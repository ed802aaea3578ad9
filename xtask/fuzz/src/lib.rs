//! What the fuzz targets share: for each parser a function that takes any bytes, and checks more than that it does not panic.
//!
//! The targets in `bin/` only hand libFuzzer's input to these functions. Which parser has which target stands in `README.md`.

pub mod archive;
pub mod blob;
pub mod index;
pub mod manifest;
pub mod names;
pub mod request;
// The crates show what follows only to a build for fuzzing.
#[cfg(fuzzing)]
pub mod client;
#[cfg(fuzzing)]
pub mod collections;
#[cfg(fuzzing)]
mod folder;
#[cfg(fuzzing)]
pub mod index_file;
#[cfg(fuzzing)]
pub mod journal;
#[cfg(fuzzing)]
pub mod keys;
#[cfg(fuzzing)]
pub mod s3;
#[cfg(fuzzing)]
pub mod s3_text;
#[cfg(fuzzing)]
mod seal;
#[cfg(fuzzing)]
pub mod server;
#[cfg(fuzzing)]
pub mod store_state;
