//! Datastores in buckets, as far as the server is concerned: their configuration and credentials, the checks before one
//! is made, the connection, and what one tells about itself. The store itself is `coldkeep_chunk_store::bucket`.

mod check;
mod config;
mod connection;
mod credentials;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod live;
mod status;

pub use check::CheckError;
pub use config::{BackendConfig, CACHE_SIZE_DEFAULT, InvalidPrefix, Prefix, S3Config};
pub use credentials::CredentialsFileError;
pub use error::BucketError;

pub(crate) use check::{check, check_lifetime};
pub(crate) use coldkeep_chunk_store::bucket::Holder;
pub(crate) use connection::Connection;
pub(crate) use credentials::save as save_credentials;
pub(crate) use identity::holder;
pub(crate) use live::{LiveBucket, UPLOAD_BYTES};
pub(crate) use status::describe_rebuild;
