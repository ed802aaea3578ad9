//! The in-use object, which names the server that has the bucket open (R11).
//!
//! It is there for clear errors; safety rests on the generation (R10).

use serde::{Deserialize, Serialize};

use super::{BucketOpenError, BucketStore, Takeover};
use crate::backend::{BackendError, Fault, ObjectBackend, ObjectKey, Put, PutCondition, Validity};
use crate::dir::MarkerDir;
use crate::switch::is_off;

/// The object that names the holder; stock servers use it, too (spec `s3-backend.md` §2).
pub(super) const IN_USE_KEY: &str = ".in-use";

/// Most characters that are shown of a machine's name: anybody who may write to the bucket chooses it, and it goes to a log.
const HOST_CHARS_SHOWN: usize = 64;

/// Stands for the name of a machine that cannot be read.
const UNKNOWN_HOST: &str = "an unknown server";

/// Who has a bucket open (R11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the machine.
    #[serde(rename = "hostname")]
    pub host: String,
    /// Id of the process; 0 in what a stock server wrote.
    #[serde(default)]
    pub process: u32,
    /// Tells servers on one machine apart; kept over restarts of one server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
}

impl Holder {
    /// Returns whether a server that does not know of generations wrote this.
    pub fn is_stock(&self) -> bool {
        self.process == 0 && self.id.is_empty()
    }

    /// Returns whether this is the server that `other` names, perhaps before a restart.
    fn is_same_server(&self, other: &Self) -> bool {
        !self.id.is_empty() && self.id == other.id && self.host == other.host
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |char: char| if char.is_control() { ' ' } else { char };
        let host: String = self.host.chars().take(HOST_CHARS_SHOWN).map(plain).collect();
        if self.is_stock() {
            write!(f, "{host} (not a Coldkeep server)")
        } else {
            write!(f, "{host} (process {})", self.process)
        }
    }
}

/// Content of the in-use object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// Who has it open.
    #[serde(flatten)]
    pub holder: Holder,
    /// Since when: seconds since the Unix epoch; 0 in what a stock server wrote.
    #[serde(default)]
    pub since: i64,
}

impl InUse {
    /// Reads the object; a damaged one names somebody unknown, who is nobody's server.
    pub fn parse(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_else(|_| Self {
            holder: Holder { host: UNKNOWN_HOST.to_owned(), process: 0, id: String::new() },
            since: 0,
        })
    }

    /// Returns whether this stands for an object that could not be read.
    fn is_damaged(&self) -> bool {
        self.holder.host == UNKNOWN_HOST
    }
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Takes the bucket, or tells who has it.
    pub(super) async fn take_in_use(&self) -> Result<(), BucketOpenError> {
        match self.read_in_use().await? {
            Some(found) if !found.holder.is_same_server(&self.options.holder) => {
                if self.options.takeover == Takeover::Refuse && !is_off("r11") {
                    return Err(BucketOpenError::InUse { holder: Box::new(found) });
                }
                if found.holder.is_stock() {
                    // It deletes chunks and leaves the token as it is, which must not make our old markers look good.
                    self.disown_local_state().await?;
                }
            }
            _ => {}
        }
        let in_use = InUse { holder: self.options.holder.clone(), since: self.clock.now().unix_seconds() };
        let content = serde_json::to_vec(&in_use).expect("invariant: texts and numbers have a JSON form");
        let put = Put {
            key: in_use_key(),
            content: content.into(),
            condition: PutCondition::Always,
            validity: Some(self.in_use_validity()),
        };
        self.backend_clock.noted(self.backend.put(put).await, &self.clock)?;
        Ok(())
    }

    /// Gives the bucket back, if it is still this server's.
    pub(super) async fn release_in_use(&self) -> Result<(), BackendError> {
        let found = self.read_in_use().await?;
        if !found.is_some_and(|found| found.holder.is_same_server(&self.options.holder)) {
            return Ok(());
        }
        // Removed, not emptied: stock servers take its existence for use.
        let deletion = self.backend.delete(&[in_use_key()], self.in_use_validity()).await;
        let refused = self.backend_clock.noted(deletion, &self.clock)?.value.refused;
        refused.into_iter().next().map_or(Ok(()), |(key, reason)| {
            let (key, fault, source) = (key.to_string(), Fault::Denied, reason.into());
            Err(BackendError { action: "delete", key, is_unclear: false, fault, date: None, source })
        })
    }

    /// Reads who has the bucket.
    async fn read_in_use(&self) -> Result<Option<InUse>, BackendError> {
        self.read_own(&in_use_key(), |_, content| InUse::parse(content), InUse::is_damaged).await
    }

    fn in_use_validity(&self) -> Validity {
        Validity { signed_at: self.backend_clock.estimate(&self.clock), lasts: self.options.lifetimes.object }
    }
}

fn in_use_key() -> ObjectKey {
    ObjectKey::new(IN_USE_KEY).expect("invariant: a plain name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_the_object_is_shown_in_one_line() {
        let object = serde_json::json!({ "hostname": format!("a\nb\u{1b}[2J{}", "x".repeat(5000)) });
        let shown = InUse::parse(object.to_string().as_bytes()).holder.to_string();
        assert!(shown.starts_with("a b [2Jxxx") && shown.ends_with("xxx (not a Coldkeep server)"), "{shown}");
        assert!(shown.len() < 300 && !shown.contains(char::is_control), "{shown}");
        assert_eq!(InUse::parse(b"{").holder.to_string(), "an unknown server (not a Coldkeep server)");
    }
}
