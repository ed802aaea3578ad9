//! The reader of a bucket's credentials, for the fuzz targets and nothing else.

use std::path::Path;

use coldkeep_s3_client::Credentials;

use super::{CredentialsFileError, credentials};

/// Reads the file.
pub fn credentials(path: &Path) -> Result<Option<Credentials>, CredentialsFileError> {
    credentials::read(path)
}
