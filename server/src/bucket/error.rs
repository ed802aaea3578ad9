//! Why a datastore in a bucket cannot be made, opened or destroyed.

use std::path::PathBuf;

use coldkeep_chunk_store::backend::BackendError;
use coldkeep_chunk_store::bucket::InUse;
use coldkeep_s3_client::ConfigError;
use coldkeep_s3_client::transport::SetupError;

use super::{CheckError, CredentialsFileError};
use crate::state::StateError;

/// Why a datastore in a bucket cannot be made, opened or destroyed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// There are no credentials.
    #[error(
        "there are no credentials: {} does not exist, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set",
        path.display()
    )]
    NoCredentials {
        /// Where they are looked for.
        path: PathBuf,
    },
    /// The file with the credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsFileError),
    /// Endpoint, region, bucket and addressing do not go together.
    #[error("the settings of the bucket cannot be used")]
    Config(#[from] ConfigError),
    /// TLS cannot be set up.
    #[error("cannot set up the connection")]
    Setup(#[from] SetupError),
    /// The bucket, or the server, is not fit for a store.
    #[error(transparent)]
    Check(#[from] Box<CheckError>),
    /// A request failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file of the data folder could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another server holds the bucket (R11).
    #[error(
        "the bucket is in use by {}; stop it, or take the bucket over with --take-over of `coldkeep datastore refresh`, or \
         of `create` or `destroy-data`",
        holder.holder
    )]
    InUse {
        /// Who holds it.
        holder: Box<InUse>,
    },
    /// Objects could not be deleted.
    #[error("{count} objects could not be deleted, such as {key}: {reason}; repeat the command")]
    Undeleted {
        /// How many.
        count: usize,
        /// One of them.
        key: String,
        /// What the server said.
        reason: String,
    },
}
