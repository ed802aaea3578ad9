//! Where the small files of a server stand, and the readers of some, for the fuzz targets and nothing else.

use std::path::PathBuf;

use super::{DataDir, StateError, keys};
use crate::auth::TicketKey;

/// Returns the path of a file of configuration.
pub fn config_path(data_dir: &DataDir, name: &str) -> PathBuf {
    data_dir.config(name)
}

/// Returns the path of a file that only the server's user may read.
pub fn secret_path(data_dir: &DataDir, name: &str) -> PathBuf {
    data_dir.secret(name)
}

/// Reads the key that signs tickets.
pub fn ticket_key(data_dir: &DataDir) -> Result<TicketKey, StateError> {
    keys::load_ticket_key(data_dir)
}
