//! The chunks of an index, some at a time.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use coldkeep_chunk_store::blob::{Blob, BlobKind, CHUNK_BYTES_MAX, ChunkClass};
use coldkeep_chunk_store::{AnyStore, Digest, DigestBuilder, DigestSet, LoadError, Quarantined};
use futures_util::future;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Defect, Findings, VerifyError, VerifyTask};
use crate::index::{ChunkSpan, IndexError, IndexKind, IndexReader};
use crate::name::ArchiveName;
use crate::store::{Datastore, run_blocking};
use crate::tree::TreeError;

/// Entries of an index that are handed over at once.
const BATCH: usize = 1024;

/// An index whose chunks are to be checked.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) kind: IndexKind,
    pub(super) name: ArchiveName,
    pub(super) encrypted: bool,
}

/// Chunks that a task has seen, so that it reads each only once.
#[derive(Debug)]
pub(super) struct VerifiedSet {
    /// Good chunks; each entry stands for digest, length and class together, so that another claim is checked anew.
    good: DigestSet,
    missing: BTreeSet<Digest>,
    corrupt: BTreeSet<Digest>,
}

impl Default for VerifiedSet {
    fn default() -> Self {
        let mut key = [0; 8];
        // Without randomness the set works all the same; only its key is then known.
        let _ = getrandom::fill(&mut key);
        let good = DigestSet::with_key(u64::from_le_bytes(key));
        Self { good, missing: BTreeSet::new(), corrupt: BTreeSet::new() }
    }
}

/// What a chunk turned out to be.
#[derive(Debug)]
enum Verdict {
    Good,
    Differs,
    Missing,
    Corrupt,
    /// It could not be read, or not be set aside, which says nothing about it (hazard H31).
    Unreadable(LoadError),
}

/// A claim about a chunk: what an index and a manifest say of it.
#[derive(Debug, Clone, Copy)]
struct Claim {
    digest: Digest,
    plain_len: u64,
    encrypted: bool,
}

impl Claim {
    fn key(&self) -> Digest {
        let mut key = DigestBuilder::new();
        key.update(self.digest.as_bytes());
        key.update(&self.plain_len.to_le_bytes());
        key.update(&[u8::from(self.encrypted)]);
        key.finish()
    }

    /// Compares a chunk that was loaded, and so is whole, with what is said of it; may decompress 16 MiB.
    fn holds_for(&self, blob: &Blob) -> bool {
        if (blob.class() == ChunkClass::Encrypted) != self.encrypted {
            return false;
        }
        let payload = (blob.encoded_len() - blob.kind().header_bytes()) as u64;
        match blob.kind() {
            BlobKind::Plain | BlobKind::Encrypted => payload == self.plain_len,
            BlobKind::Zstd => {
                blob.decode(CHUNK_BYTES_MAX).is_ok_and(|data| data.len() as u64 == self.plain_len)
            }
            // Only the client can tell.
            BlobKind::EncryptedZstd => true,
        }
    }
}

impl VerifiedSet {
    /// Returns what is known of a chunk without reading it.
    fn known(&self, claim: &Claim) -> Option<Verdict> {
        if self.missing.contains(&claim.digest) {
            Some(Verdict::Missing)
        } else if self.corrupt.contains(&claim.digest) {
            Some(Verdict::Corrupt)
        } else {
            self.good.contains(&claim.key()).then_some(Verdict::Good)
        }
    }

    fn note(&mut self, claim: &Claim, verdict: &Verdict) {
        match verdict {
            Verdict::Good => drop(self.good.insert(&claim.key())),
            Verdict::Missing => drop(self.missing.insert(claim.digest)),
            Verdict::Corrupt => drop(self.corrupt.insert(claim.digest)),
            // The next read may succeed.
            Verdict::Differs | Verdict::Unreadable(_) => {}
        }
    }
}

impl Datastore {
    /// Checks the chunks of an index; `false` if the task was cancelled.
    pub(super) async fn verify_chunks(
        self: &Arc<Self>,
        archive: Archive,
        task: &mut VerifyTask,
        findings: &mut Findings,
    ) -> Result<bool, VerifyError> {
        let Archive { path, kind, name, encrypted } = archive;
        let (send, mut batches) = mpsc::channel(1);
        let listing =
            tokio::task::spawn_blocking(move || send_batches(&IndexReader::open(&path, kind)?, &send));
        let mut running: VecDeque<(Claim, Running)> = VecDeque::with_capacity(task.parallel);
        while let Some(batch) = batches.recv().await {
            for span in batch {
                if task.control.is_cancelled() {
                    return Ok(false);
                }
                let claim = Claim { digest: span.digest, plain_len: span.plain_len(), encrypted };
                if let Some(verdict) = task.verified.known(&claim) {
                    report(findings, &name, &claim, verdict);
                    continue;
                }
                if running.iter().any(|(other, _)| other.key() == claim.key()) {
                    continue;
                }
                if running.len() == task.parallel {
                    self.settle(&mut running, task, findings, &name).await?;
                }
                let check = tokio::spawn(check_chunk(self.chunks().clone(), claim));
                running.push_back((claim, Running(check)));
            }
        }
        while !running.is_empty() {
            self.settle(&mut running, task, findings, &name).await?;
        }
        match listing.await {
            Ok(Err(source)) if source.is_malformed() => findings.add(Defect::Index { file: name, source }),
            Ok(listed) => listed?,
            Err(_) => return Err(TreeError::ShuttingDown.into()),
        }
        Ok(true)
    }

    /// Waits for the oldest check, notes what it found, and lets its bytes have their time.
    async fn settle(
        &self,
        running: &mut VecDeque<(Claim, Running)>,
        task: &mut VerifyTask,
        findings: &mut Findings,
        name: &ArchiveName,
    ) -> Result<(), VerifyError> {
        let Some((claim, mut check)) = running.pop_front() else { return Ok(()) };
        let (verdict, bytes) = match (&mut check.0).await {
            Ok(checked) => checked?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(TreeError::ShuttingDown.into()),
        };
        task.control.chunks.fetch_add(1, Ordering::Relaxed);
        task.control.bytes.fetch_add(bytes, Ordering::Relaxed);
        task.verified.note(&claim, &verdict);
        report(findings, name, &claim, verdict);
        let clock = self.chunks().clock();
        if let Some(pace) = &mut task.pace {
            let wait = pace.wait(bytes, clock.monotonic());
            future::select(pin!(task.control.cancelled()), clock.sleep(wait)).await;
        }
        Ok(())
    }
}

/// A chunk being checked; dropping it stops that.
#[derive(Debug)]
struct Running(JoinHandle<Result<(Verdict, u64), TreeError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn report(findings: &mut Findings, name: &ArchiveName, claim: &Claim, verdict: Verdict) {
    let (file, digest) = (name.clone(), claim.digest);
    match verdict {
        Verdict::Good => {}
        Verdict::Differs => findings.add(Defect::ChunkDiffers { file, digest }),
        Verdict::Missing => findings.add(Defect::ChunkMissing { file, digest }),
        Verdict::Corrupt => findings.add(Defect::ChunkCorrupt { file, digest }),
        Verdict::Unreadable(source) => findings.add(Defect::ChunkUnreadable { file, digest, source }),
    }
}

fn send_batches(index: &IndexReader, send: &mpsc::Sender<Vec<ChunkSpan>>) -> Result<(), IndexError> {
    let mut spans = index.spans();
    loop {
        let batch: Vec<ChunkSpan> = spans.by_ref().take(BATCH).collect::<Result<_, _>>()?;
        // Without a receiver the verification has ended.
        if batch.is_empty() || send.blocking_send(batch).is_err() {
            return Ok(());
        }
    }
}

/// Reads one chunk and judges it; sets it aside if it is corrupt (R15).
async fn check_chunk(chunks: AnyStore, claim: Claim) -> Result<(Verdict, u64), TreeError> {
    let blob = match chunks.fetch(&claim.digest).await {
        Err(LoadError::Corrupt { .. }) => match chunks.quarantine(&claim.digest).await {
            Ok(Quarantined::SetAside { .. }) => return Ok((Verdict::Corrupt, 0)),
            Ok(Quarantined::Missing) => return Ok((Verdict::Missing, 0)),
            // Replaced meanwhile, or the first read went wrong: what is there now counts.
            Ok(Quarantined::Good) => chunks.fetch(&claim.digest).await,
            Err(error) => Err(error.into()),
        },
        loaded => loaded,
    };
    let blob = match blob {
        Ok(blob) => blob,
        Err(LoadError::Missing { .. }) => return Ok((Verdict::Missing, 0)),
        Err(error) => return Ok((Verdict::Unreadable(error), 0)),
    };
    let bytes = blob.encoded_len() as u64;
    let holds = run_blocking(move || claim.holds_for(&blob)).await.ok_or(TreeError::ShuttingDown)?;
    Ok((if holds { Verdict::Good } else { Verdict::Differs }, bytes))
}
