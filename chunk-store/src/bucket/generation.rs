//! The generation of the bucket, and the token that proves it (R10).

use serde::{Deserialize, Serialize};

use super::{BucketStore, Closed, CommitError};
use crate::backend::ObjectBackend;
use crate::dir::MarkerDir;
use crate::store::StoreError;

/// Who has a bucket open (R11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the machine.
    #[serde(rename = "hostname")]
    pub host: String,
    /// Id of the process.
    #[serde(default)]
    pub process: u32,
    /// Tells servers on one machine apart; kept over restarts of one server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

/// What this store knows of the bucket's generation.
#[derive(Debug, Default)]
pub(super) struct Generation {}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Reads the token: ours, or the store is closed (R10).
    pub async fn check_token(&self) -> Result<(), CommitError> {
        todo!()
    }

    /// Chooses the next token, without making it durable yet (the journal names it first, R7).
    pub(super) fn next_token(&self) -> String {
        todo!()
    }

    /// Advances the generation to `token` (R10).
    pub(super) async fn advance(&self, _token: String) -> Result<(), StoreError> {
        todo!()
    }
}

/// Keeps the imports of the stub in use.
#[allow(dead_code)]
fn stub() -> Closed {
    Closed::Ended
}
