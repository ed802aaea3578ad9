//! An entry in the list of datastores.

use std::path::PathBuf;

use coldkeep_datastore::StoreName;
use serde::{Deserialize, Serialize};

use crate::bucket::{BackendConfig, S3Config};

/// An entry in the list of datastores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreConfig {
    /// The name.
    pub name: StoreName,
    /// The folder; a relative one is below the data folder.
    pub path: PathBuf,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When writes reach the disk for good.
    #[serde(default)]
    pub sync_level: StoreSync,
    /// Seconds that chunks stay after their last use; absent means what the server was started with (R13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_grace: Option<u64>,
    /// Seconds taken off the cutoff of collections once more; absent means what the server was started with (R13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_margin: Option<u64>,
    /// Where the objects live; absent means in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendConfig>,
}

impl StoreConfig {
    /// Returns the bucket, if the objects live in one.
    pub fn bucket(&self) -> Option<&S3Config> {
        let BackendConfig::S3(config) = self.backend.as_ref()?;
        Some(config)
    }

    /// Returns what stock clients call the kind of backend.
    pub fn backend_type(&self) -> &'static str {
        if self.bucket().is_some() { "s3" } else { "filesystem" }
    }
}

/// When writes reach the disk for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreSync {
    /// Whenever the system likes: a power loss may break committed snapshots.
    None,
    /// The whole filesystem once before each commit.
    #[default]
    Filesystem,
    /// Every chunk when it is written.
    File,
}
