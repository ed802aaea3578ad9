//! What the fuzz targets share: for each parser a function that takes any bytes, and checks more than that it does not panic.
//!
//! The targets in `bin/` only hand libFuzzer's input to these functions, so that the tests below can run them on the seeds.

pub mod blob;
pub mod index;
pub mod manifest;
pub mod names;
pub mod request;
// The client shows its parsers only to a build for fuzzing.
#[cfg(fuzzing)]
pub mod s3;
