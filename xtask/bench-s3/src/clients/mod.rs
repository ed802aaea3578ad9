//! The clients, each behind the same few calls.
//!
//! Each has the settings that it has when nobody sets any, over plain HTTP and with path-style addresses, and the API that suits
//! contents in memory best. All of them sign the SHA-256 of what they put. What they differ in stands at each.

#[cfg(feature = "aws-sdk")]
pub(crate) mod aws_sdk;
pub(crate) mod coldkeep;
pub(crate) mod object_store;
pub(crate) mod rust_s3;

use anyhow::Result;
use bytes::Bytes;

/// What a client is asked to do.
pub(crate) trait Client: Send + Sync + 'static {
    /// Puts one object.
    fn put(&self, key: String, contents: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Gets the whole of one object, in one piece.
    fn get(&self, key: String) -> impl Future<Output = Result<Bytes>> + Send;

    /// Goes through all keys below `prefix` and says how many there are. Pages are not kept.
    fn list(&self, prefix: String) -> impl Future<Output = Result<usize>> + Send;

    /// Deletes these keys, as many as one request may hold at most, and says how many are gone.
    fn delete(&self, keys: Vec<String>) -> impl Future<Output = Result<usize>> + Send;
}
