//! The in-use object, which names the server that has the bucket open (R11).

use serde::{Deserialize, Serialize};

use super::Holder;

/// Content of the in-use object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// Who has it open.
    #[serde(flatten)]
    pub holder: Holder,
    /// Since when: seconds since the Unix epoch.
    #[serde(default)]
    pub since: i64,
}
