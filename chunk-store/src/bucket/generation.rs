//! The generation of the bucket, and the token that proves whose it is (R10).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

use super::rebuild::RebuildRecord;
use super::{BucketStore, CommitError};
use crate::backend::{
    BackendError, ETag, Fault, ObjectBackend, ObjectInfo, ObjectKey, Put, PutCondition, PutOutcome, Validity,
};
use crate::dir::{ChunkDir, DirError, MarkerDir, StateFile};
use crate::store::StoreError;
use crate::switch::is_off;

/// The object that holds the token.
pub(super) const GENERATION_KEY: &str = ".generation";

/// Tokens of ours that are remembered: a read of the token may be compared after the generation was advanced meanwhile,
/// but not this often.
const TOKENS_KEPT: usize = 1024;

/// Rounds of writing and reading back before an advance gives up; with the waits in between about half a minute.
const SWAPS_MAX: u32 = 8;

/// The longest lifetime of requests that is believed: servers take signatures for a quarter of an hour, presigned requests
/// for a week at most (S3 API reference).
pub(super) const REQUESTS_LAST_MAX: Duration = Duration::from_hours(24 * 7);

const BACKOFF_MIN: Duration = Duration::from_millis(200);

/// Content of the state file; layout in `docs/FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct GenerationFile {
    /// The token that the local state belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// The token that was about to be written: after a crash or a lost reply this one is ours, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proposed: Option<String>,
    /// How far a rebuild is: until it is done, nothing else that is local counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rebuild: Option<RebuildRecord>,
}

impl GenerationFile {
    /// Reads the file; a damaged one says nothing.
    pub(super) fn parse(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_default()
    }

    /// Returns whether the local state belongs to the generation of this token; an empty one is nobody's.
    pub(super) fn owns(&self, token: &str) -> bool {
        if token.is_empty() {
            return false;
        }
        self.current.as_deref() == Some(token) || self.proposed.as_deref() == Some(token)
    }
}

/// Content of the generation object.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GenerationObject {
    token: String,
    host: String,
    /// Seconds since the Unix epoch.
    #[serde(default)]
    written_at: i64,
    /// For how many seconds requests of this owner, and those that it waits for itself, can take effect: whoever takes the
    /// bucket waits that long (hazard H24).
    #[serde(default)]
    requests_last: u64,
}

/// The generation object as it was read. A damaged one ([`Seen::is_damaged`]) has an empty token, which is nobody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) token: String,
    etag: ETag,
    pub(super) requests_last: Duration,
}

impl Seen {
    /// Reads the object. No lifetime is believed that no request can have: nobody is waited for longer, whatever stands there.
    pub(super) fn parse(content: &[u8], etag: ETag) -> Self {
        let object = serde_json::from_slice::<GenerationObject>(content).ok();
        let requests_last = object.as_ref().map_or(0, |object| object.requests_last);
        Self {
            token: object.map(|object| object.token).unwrap_or_default(),
            etag,
            requests_last: Duration::from_secs(requests_last).min(REQUESTS_LAST_MAX),
        }
    }

    /// Returns whether this cannot be what any server of ours wrote.
    fn is_damaged(&self) -> bool {
        self.token.is_empty()
    }
}

/// What this store knows of the bucket's generation.
#[derive(Debug, Default)]
pub(super) struct Generation {
    known: Mutex<Known>,
    /// Advances, and replacements of the file, take turns.
    turn: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// As it is on disk.
    file: GenerationFile,
    /// What the next advance replaces: the object as this store last wrote or accepted it.
    base: Option<Seen>,
    /// What this process proposed, the latest last.
    tokens: VecDeque<String>,
    /// For how long requests from before this process opened the bucket could take effect.
    earlier: Duration,
}

impl Generation {
    /// Reads the state file. A damaged one counts as none: then the local state is rebuilt, which is always safe.
    pub(super) async fn load<D: ChunkDir>(dir: &D) -> Result<Self, DirError> {
        let content = dir.load_state(StateFile::Generation).await?;
        let file = content.map(|content| GenerationFile::parse(&content)).unwrap_or_default();
        Ok(Self { known: Mutex::new(Known { file, ..Known::default() }), turn: AsyncMutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the local state belongs to no generation.
    pub(super) fn is_unknown(&self) -> bool {
        let known = self.lock();
        known.file.current.is_none() && known.file.proposed.is_none()
    }

    /// Returns for how long requests from before this process opened the bucket could take effect.
    pub(super) fn earlier(&self) -> Duration {
        self.lock().earlier
    }

    /// Returns the content of the state file.
    pub(super) fn file(&self) -> GenerationFile {
        self.lock().file.clone()
    }

    /// Returns whether a token is one that this process wrote lately.
    fn is_ours(&self, token: &str) -> bool {
        self.lock().tokens.iter().rev().any(|ours| ours == token)
    }

    /// Returns whether the object stands as an advance expects it before its write, and takes note of its tag.
    fn accept(&self, seen: Option<&Seen>) -> bool {
        let is_base = match seen {
            Some(seen) => {
                let token = self.lock().base.as_ref().map(|base| base.token.clone());
                token.as_ref() == Some(&seen.token) || self.is_ours(&seen.token)
            }
            None => self.lock().base.is_none(),
        };
        if is_base || is_off("r10") {
            self.lock().base = seen.cloned();
            return true;
        }
        false
    }
}

/// What an advance came to.
#[derive(Debug)]
enum Swapped {
    Done,
    /// Somebody else's token stands there, or none although there was one.
    Foreign(Option<Seen>),
}

impl<D: MarkerDir, B: ObjectBackend> BucketStore<D, B> {
    /// Reads the token: ours, or the store is closed for good (R10).
    ///
    /// # Errors
    /// [`CommitError::Closed`]: another server has taken the bucket over; [`CommitError::Backend`]: not known.
    ///
    /// # Cancel safety
    /// Read-only: dropping the future changes nothing.
    pub async fn check_token(&self) -> Result<(), CommitError> {
        self.check_owned()?;
        let seen = self.read_generation().await?;
        if seen.is_some_and(|seen| self.generation.is_ours(&seen.token)) || is_off("r10") {
            // It may have been closed while the answer was on its way.
            return Ok(self.check_owned()?);
        }
        Err(self.supersede().into())
    }

    /// Chooses the next token, without making it durable yet (the journal names it first, R7).
    pub(super) fn next_token(&self) -> String {
        format!("{:032x}", self.options.random.next_u128())
    }

    /// Advances the generation to `token`: proposes it durably, swaps the object, records it (R10).
    ///
    /// An error leaves open whether the object has the token; it is ours in either case, and the next advance goes on
    /// from what is there. A foreign token closes the store.
    pub(super) async fn advance(&self, token: String) -> Result<(), StoreError> {
        let _turn = self.generation.turn.lock().await;
        self.check_owned()?;
        let rebuild = self.generation.file().rebuild;
        self.propose(&token, rebuild).await?;
        match self.swap(&token).await? {
            Swapped::Done => self.record(token).await,
            Swapped::Foreign(_) => Err(self.supersede().into()),
        }
    }

    /// Advances the generation at open, before anything local is trusted (R10); returns the rebuild that is to be made or
    /// to go on, if the local state does not belong to the bucket's generation.
    pub(super) async fn advance_at_open(&self) -> Result<Option<RebuildRecord>, StoreError> {
        let _turn = self.generation.turn.lock().await;
        let mut seen = self.read_generation().await?;
        for _ in 0..SWAPS_MAX {
            let file = self.generation.file();
            let is_ours = seen.as_ref().is_some_and(|seen| file.owns(&seen.token))
                || (file.current.is_some() && is_off("r10"));
            let rebuild = if is_ours {
                file.rebuild.or_else(|| self.options.rebuild.then(RebuildRecord::of_ours))
            } else {
                Some(self.new_rebuild(&file, seen.is_some()).await?)
            };
            let earlier = seen.as_ref().map_or(Duration::ZERO, |seen| seen.requests_last);
            let rebuild = rebuild.map(|record| record.waiting_for(earlier));
            let current = if is_ours { seen.as_ref().map(|seen| seen.token.clone()) } else { None };
            {
                let mut known = self.generation.lock();
                known.base.clone_from(&seen);
                known.earlier = known.earlier.max(earlier);
                // Until a rebuild is done, the old local state belongs to no generation.
                known.file.current = current;
            }
            let token = self.next_token();
            self.propose(&token, rebuild.clone()).await?;
            match self.swap(&token).await? {
                Swapped::Done => {
                    self.record(token).await?;
                    return Ok(rebuild);
                }
                // The predecessor is still at work, or two servers open the bucket: decide again from what is there now.
                Swapped::Foreign(now) => seen = now,
            }
        }
        Err(self.supersede().into())
    }

    /// Chooses the rebuild for a local state that does not belong to the bucket's generation.
    async fn new_rebuild(
        &self,
        local: &GenerationFile,
        has_generation: bool,
    ) -> Result<RebuildRecord, BackendError> {
        if local.rebuild.as_ref().is_some_and(RebuildRecord::is_adopting) {
            return Ok(RebuildRecord::of_foreign());
        }
        if has_generation || local.current.is_some() || local.proposed.is_some() {
            return Ok(RebuildRecord::of_ours());
        }
        // No server of ours ever had it.
        Ok(if self.is_bucket_empty().await? {
            RebuildRecord::of_nothing()
        } else {
            RebuildRecord::of_foreign()
        })
    }

    /// Makes a token durable before it is written, and with it what becomes of the local state then.
    async fn propose(&self, token: &str, rebuild: Option<RebuildRecord>) -> Result<(), StoreError> {
        let file = {
            let mut known = self.generation.lock();
            if known.tokens.len() == TOKENS_KEPT {
                known.tokens.pop_front();
            }
            known.tokens.push_back(token.to_owned());
            GenerationFile { proposed: Some(token.to_owned()), rebuild, ..known.file.clone() }
        };
        Ok(self.save_generation(file).await?)
    }

    async fn record(&self, token: String) -> Result<(), StoreError> {
        let file = self.generation.file();
        Ok(self.save_generation(GenerationFile { current: Some(token), proposed: None, ..file }).await?)
    }

    /// Notes how far a rebuild is, or that it is over.
    pub(super) async fn record_rebuild(&self, rebuild: Option<RebuildRecord>) -> Result<(), DirError> {
        let _turn = self.generation.turn.lock().await;
        let file = self.generation.file();
        self.save_generation(GenerationFile { rebuild, ..file }).await
    }

    /// Disowns the local state before a bucket that a stock server had is taken: such a server leaves the token alone.
    pub(super) async fn disown_local_state(&self) -> Result<(), DirError> {
        let _turn = self.generation.turn.lock().await;
        let rebuild = Some(RebuildRecord::of_foreign());
        self.save_generation(GenerationFile { rebuild, ..GenerationFile::default() }).await
    }

    /// Replaces the state file; the caller has the turn.
    async fn save_generation(&self, file: GenerationFile) -> Result<(), DirError> {
        let content = serde_json::to_vec(&file).expect("invariant: texts and numbers have a JSON form");
        self.dir.save_state(StateFile::Generation, content.into()).await?;
        self.generation.lock().file = file;
        Ok(())
    }

    /// Returns for how long a successor must wait: for requests of ours, and for those that we are still waiting for.
    fn requests_last(&self) -> Duration {
        let awaited = self.generation.file().rebuild.map_or(Duration::ZERO, |record| record.requests_last());
        self.options.lifetimes.longest().max(awaited)
    }

    /// Reads the generation object; a damaged one only if the bucket has it so.
    async fn read_generation(&self) -> Result<Option<Seen>, BackendError> {
        let parse = |info: ObjectInfo, content: &[u8]| Seen::parse(content, info.etag);
        self.read_own(&generation_key(), parse, Seen::is_damaged).await
    }

    /// Swaps the object from what is known to `token`, whatever becomes of the single requests.
    async fn swap(&self, token: &str) -> Result<Swapped, StoreError> {
        let object = GenerationObject {
            token: token.to_owned(),
            host: self.options.holder.host.clone(),
            written_at: self.clock.now().unix_seconds(),
            requests_last: self.requests_last().as_secs_f64().ceil() as u64,
        };
        let content =
            Bytes::from(serde_json::to_vec(&object).expect("invariant: texts and numbers have a JSON form"));
        let mut failure = None;
        for round in 0..SWAPS_MAX {
            if round > 0 {
                self.clock.sleep(BACKOFF_MIN * 2_u32.pow(round - 1)).await;
            }
            match self.swap_once(token, &content).await {
                Ok(Some(swapped)) => return Ok(swapped),
                Ok(None) => {}
                Err(error) if error.is_unclear || error.fault.is_transient() => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(failure.unwrap_or_else(refused).into())
    }

    /// One round: write, and read back unless the answer proves the swap; `None` if it is to be repeated.
    async fn swap_once(&self, token: &str, content: &Bytes) -> Result<Option<Swapped>, BackendError> {
        let base = if self.options.swaps_atomically {
            self.generation.lock().base.clone()
        } else {
            // The condition would not be heeded: as good as it gets is to look right before.
            let seen = self.read_generation().await?;
            if let Some(swapped) = self.judge_generation(token, seen.clone()) {
                return Ok(Some(swapped));
            }
            seen
        };
        let condition = match base {
            _ if !self.options.swaps_atomically => PutCondition::Always,
            Some(base) => PutCondition::IfMatch(base.etag),
            None => PutCondition::IfAbsent,
        };
        let validity = Some(Validity {
            signed_at: self.backend_clock.estimate(&self.clock),
            lasts: self.options.lifetimes.object,
        });
        let put = Put { key: generation_key(), content: content.clone(), condition, validity };
        let answer = self.backend_clock.noted(self.backend.put(put).await, &self.clock)?;
        if let PutOutcome::Stored(etag) = answer.value
            && self.options.swaps_atomically
        {
            let requests_last = self.requests_last();
            self.generation.lock().base = Some(Seen { token: token.to_owned(), etag, requests_last });
            return Ok(Some(Swapped::Done));
        }
        // Refused: perhaps by an earlier attempt of ours, whose reply was lost.
        let seen = self.read_generation().await?;
        Ok(self.judge_generation(token, seen))
    }

    /// Judges what was read while `token` is to be written; `None` if it can be written (again).
    fn judge_generation(&self, token: &str, seen: Option<Seen>) -> Option<Swapped> {
        if seen.as_ref().is_some_and(|seen| seen.token == token) {
            self.generation.lock().base = seen;
            return Some(Swapped::Done);
        }
        if self.generation.accept(seen.as_ref()) { None } else { Some(Swapped::Foreign(seen)) }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed(closed) => Self::Closed(closed),
            CommitError::Backend(error) => Self::Backend(error),
        }
    }
}

fn generation_key() -> ObjectKey {
    ObjectKey::new(GENERATION_KEY).expect("invariant: a plain name")
}

/// The backend refuses a conditional put although its condition holds.
fn refused() -> BackendError {
    BackendError {
        action: "replace",
        key: GENERATION_KEY.to_owned(),
        is_unclear: false,
        fault: Fault::BadAnswer,
        date: None,
        source: "the backend says that the object has changed, and it has not".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_object_is_nobodys_whatever_the_file_says() {
        let object = Seen::parse(b"{\"token\":", ETag(String::new()));
        for file in [r#"{"current":""}"#, r#"{"proposed":""}"#, "{}", "damaged"] {
            assert!(!GenerationFile::parse(file.as_bytes()).owns(&object.token), "{file}");
        }
        assert!(GenerationFile::parse(br#"{"current":"a","proposed":"b"}"#).owns("b"));
    }

    #[test]
    fn no_owner_is_waited_for_longer_than_a_bucket_can_be() {
        let object = br#"{"token":"a","host":"h","requests_last":18446744073709551615}"#;
        assert_eq!(Seen::parse(object, ETag(String::new())).requests_last, REQUESTS_LAST_MAX);
    }
}
