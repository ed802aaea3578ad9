//! The indexes of a session: creating, appending, closing.

use std::sync::{Arc, Mutex, PoisonError};

use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{Digest, TouchError};
use tokio::sync::Mutex as AsyncMutex;

use super::{BackupError, BackupWriter, Inner, Phase, WRITERS_MAX, shutting_down};
use crate::file::{is_missing, read_if_there, remove_if_there};
use crate::index::{
    DynamicIndexWriter, FixedIndexWriter, IndexError, IndexKind, IndexOrigin, IndexReader, IndexTotals,
};
use crate::name::{ArchiveKind, ArchiveName};
use crate::store::run_blocking;
use crate::tree::TreeError;

/// Chunks of a reused index that are refreshed by one call.
const TOUCH_BATCH: usize = 4096;

/// An index that is being written.
#[derive(Debug)]
pub(super) struct OpenIndex {
    name: ArchiveName,
    kind: IndexKind,
    /// Whether it began as a copy of the previous one.
    reused: bool,
    /// Keeps appends in the order in which they came; held across awaits, taken before any lock(d).
    order: AsyncMutex<()>,
    /// The one uploaded chunk that is shorter than 4 MiB.
    short_chunk: Mutex<Option<Digest>>,
    draft: Mutex<Option<Draft>>,
}

#[derive(Debug)]
struct Draft {
    writer: Writer,
    appended: u64,
}

#[derive(Debug)]
enum Writer {
    Dynamic(DynamicIndexWriter),
    Fixed(FixedIndexWriter),
}

/// A chunk to append, with its plain length.
#[derive(Debug, Clone, Copy)]
struct Entry {
    digest: Digest,
    offset: u64,
    plain_len: u64,
}

impl OpenIndex {
    fn new(name: ArchiveName, writer: Writer, reused: bool) -> Self {
        let kind = match writer {
            Writer::Dynamic(_) => IndexKind::Dynamic,
            Writer::Fixed(_) => IndexKind::Fixed,
        };
        Self {
            name,
            kind,
            reused,
            order: AsyncMutex::new(()),
            short_chunk: Mutex::new(None),
            draft: Mutex::new(Some(Draft { writer, appended: 0 })),
        }
    }

    pub(super) const fn kind(&self) -> IndexKind {
        self.kind
    }

    /// Notes an upload shorter than 4 MiB; there may be one.
    pub(super) fn note_short_chunk(&self, digest: Digest) -> Result<(), BackupError> {
        let mut short = self.short_chunk.lock().unwrap_or_else(PoisonError::into_inner);
        match short.replace(digest) {
            Some(earlier) if earlier != digest => {
                *short = Some(earlier);
                Err(BackupError::SecondShortChunk { digest, earlier })
            }
            _ => Ok(()),
        }
    }

    /// Appends entries up to the first that does not fit; blocking.
    fn append(&self, entries: &[Entry]) -> Result<(), BackupError> {
        let mut draft = self.draft.lock().unwrap_or_else(PoisonError::into_inner);
        let Draft { writer, appended } =
            draft.as_mut().ok_or(BackupError::Over { how: "has closed this index" })?;
        let failed = |source| BackupError::Index { name: self.name.clone(), source };
        match writer {
            Writer::Fixed(writer) => {
                for entry in entries {
                    writer.put(entry.digest, entry.offset, entry.plain_len).map_err(failed)?;
                    *appended += 1;
                }
                Ok(())
            }
            Writer::Dynamic(writer) => {
                let mut end = writer.end();
                let fits = |entry: &&Entry| {
                    let follows = entry.offset == end;
                    end += entry.plain_len;
                    follows
                };
                let fitting: Vec<_> =
                    entries.iter().take_while(fits).map(|entry| (entry.digest, entry.plain_len)).collect();
                writer.append(&fitting).map_err(failed)?;
                *appended += fitting.len() as u64;
                match entries.get(fitting.len()) {
                    None => Ok(()),
                    Some(Entry { digest, offset, .. }) => Err(BackupError::Offset {
                        name: self.name.clone(),
                        digest: *digest,
                        offset: *offset,
                        end: writer.end(),
                    }),
                }
            }
        }
    }

    /// Checks the announced totals and gives the index its name; whatever comes out, the draft is gone. Blocking.
    fn close(&self, announced: &IndexTotals) -> Result<(), BackupError> {
        let draft = self.draft.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Draft { writer, appended } = draft.ok_or(BackupError::Over { how: "has closed this index" })?;
        let failed = |source| BackupError::Index { name: self.name.clone(), source };
        let differs =
            |what, announced, found| BackupError::Totals { name: self.name.clone(), what, announced, found };
        if announced.chunk_count != appended {
            return Err(differs("chunk count", announced.chunk_count, appended));
        }
        let found = match &writer {
            Writer::Dynamic(writer) => writer.summary(),
            Writer::Fixed(writer) => writer.summary().map_err(failed)?,
        };
        // After a reuse the client counts only what changed (spec `backup-protocol.md` §3.1).
        if !self.reused {
            // A fixed index has at least one chunk (spec `formats.md` §4); an empty stream is a stream like any other.
            let is_empty_image = found.chunk_count == 0 && self.kind() == IndexKind::Fixed;
            if found.chunk_count != announced.chunk_count || is_empty_image {
                return Err(differs("chunk count", announced.chunk_count, found.chunk_count));
            }
            if found.size != announced.size {
                return Err(differs("size", announced.size, found.size));
            }
        }
        if found.csum != announced.csum {
            return Err(failed(IndexError::Checksum { expected: announced.csum, got: found.csum }));
        }
        match writer {
            Writer::Dynamic(writer) => writer.commit().map(drop).map_err(failed),
            Writer::Fixed(writer) => writer.commit(&found).map_err(failed),
        }
    }
}

fn check_suffix(name: &ArchiveName, kind: IndexKind) -> Result<(), BackupError> {
    if name.kind() == ArchiveKind::Index(kind) {
        Ok(())
    } else {
        Err(BackupError::Suffix { name: name.clone(), expected: kind.suffix() })
    }
}

impl BackupWriter {
    /// Opens a dynamic index; returns the number of its writer.
    ///
    /// # Errors
    /// [`BackupError::Suffix`], [`BackupError::NameInUse`], [`BackupError::TooManyWriters`], [`BackupError::Over`],
    /// [`BackupError::Index`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave a writer open that nobody knows of; the session cannot be finished then.
    pub async fn create_dynamic(&self, name: &ArchiveName) -> Result<u32, BackupError> {
        self.create(name, IndexKind::Dynamic, |inner, name| {
            let target = inner.store.tree().layout.file(&inner.request.ns, &inner.request.snapshot, name);
            DynamicIndexWriter::create(&target, inner.origin()).map(Writer::Dynamic)
        })
        .await
    }

    /// Opens a fixed index with chunks of 4 MiB; returns the number of its writer.
    ///
    /// Without `size` it grows until a short chunk ends it. With `reuse_csum` it begins as a copy of the previous
    /// index, whose recomputed checksum and size must be those given; its chunks are refreshed first (R5).
    ///
    /// # Errors
    /// Those of [`Self::create_dynamic`]; [`BackupError::ReuseWithoutSize`], [`BackupError::NoPrevious`],
    /// [`BackupError::NoPreviousFile`], [`BackupError::ChunkLost`].
    ///
    /// # Cancel safety
    /// As [`Self::create_dynamic`].
    pub async fn create_fixed(
        &self,
        name: &ArchiveName,
        size: Option<u64>,
        reuse_csum: Option<Digest>,
    ) -> Result<u32, BackupError> {
        let Some(csum) = reuse_csum else {
            let create = self.create(name, IndexKind::Fixed, move |inner, name| {
                inner.fixed_writer(name, size).map(Writer::Fixed)
            });
            return create.await;
        };
        check_suffix(name, IndexKind::Fixed)?;
        let size = size.ok_or_else(|| BackupError::ReuseWithoutSize { name: name.clone() })?;
        self.inner.base(name)?;
        // R5: before there is a writer that could be closed.
        self.touch_previous(name, csum).await?;
        self.create(name, IndexKind::Fixed, move |inner, name| {
            let mut writer = inner.fixed_writer(name, Some(size))?;
            writer.prefill(&inner.previous_index(name)?)?;
            Ok(Writer::Fixed(writer))
        })
        .await
    }

    /// Appends chunks, given with their offsets, to the index of `wid`.
    ///
    /// Entries before a refused one stay appended (spec `backup-protocol.md` §3.1).
    ///
    /// # Errors
    /// [`BackupError::UnknownChunk`] (R17), [`BackupError::ChunkLost`] (R5), [`BackupError::Offset`],
    /// [`BackupError::Index`], [`BackupError::UnknownWriter`], [`BackupError::WrongKind`], [`BackupError::Over`].
    ///
    /// # Cancel safety
    /// The entries may or may not be appended if the future is dropped.
    pub async fn append(
        &self,
        wid: u32,
        kind: IndexKind,
        entries: &[(Digest, u64)],
    ) -> Result<(), BackupError> {
        let index = self.inner.open_state()?.index(wid, kind)?;
        let _order = index.order.lock().await;
        let (resolved, unknown) = self.resolve(entries).await?;
        let untold: Vec<Digest> = {
            let state = self.inner.state();
            resolved.iter().map(|entry| entry.digest).filter(|digest| state.known.is_untold(digest)).collect()
        };
        self.touch(&untold).await?;
        let (inner, target) = (Arc::clone(&self.inner), Arc::clone(&index));
        let append = move || {
            let _folder = inner.footprint.enter()?;
            target.append(&resolved)
        };
        run_blocking(append).await.unwrap_or(Err(BackupError::Tree(TreeError::ShuttingDown)))?;
        unknown.map_or(Ok(()), |digest| Err(BackupError::UnknownChunk { digest }))
    }

    /// Completes the dynamic index of `wid`; the writer is gone, whatever the outcome.
    ///
    /// # Errors
    /// [`BackupError::Totals`], [`BackupError::Index`], [`BackupError::UnknownWriter`], [`BackupError::WrongKind`] (the
    /// writer stays), [`BackupError::Over`].
    ///
    /// # Cancel safety
    /// The index may or may not be complete if the future is dropped.
    pub async fn close_dynamic(&self, wid: u32, announced: IndexTotals) -> Result<(), BackupError> {
        self.close(wid, IndexKind::Dynamic, announced).await
    }

    /// Completes the fixed index of `wid`; the writer is gone, whatever the outcome. After a reuse `chunk_count` is
    /// the number of chunks appended, and `size` is not looked at.
    ///
    /// # Errors
    /// As [`Self::close_dynamic`].
    ///
    /// # Cancel safety
    /// As [`Self::close_dynamic`].
    pub async fn close_fixed(&self, wid: u32, announced: IndexTotals) -> Result<(), BackupError> {
        self.close(wid, IndexKind::Fixed, announced).await
    }

    async fn close(&self, wid: u32, kind: IndexKind, announced: IndexTotals) -> Result<(), BackupError> {
        let (index, busy) = {
            let mut state = self.inner.open_state()?;
            let index = state.index(wid, kind)?;
            state.indexes.remove(&wid);
            state.busy += 1;
            (index, Arc::new(super::Busy(Arc::clone(&self.inner))))
        };
        let _order = index.order.lock().await;
        let closed = self.close_and_put(&index, announced, &busy).await;
        let mut state = self.inner.state();
        if closed.is_ok() {
            state.completed_files += 1;
        } else {
            state.index_names.remove(&index.name);
        }
        closed
    }

    /// Completes an index on disk and puts it into the bucket, if there is one, before anybody is told.
    async fn close_and_put(
        &self,
        index: &Arc<OpenIndex>,
        announced: IndexTotals,
        busy: &Arc<super::Busy>,
    ) -> Result<(), BackupError> {
        let (target, closing) = (Arc::clone(index), Arc::clone(busy));
        let close = move || {
            let folder = closing.0.footprint.enter()?;
            target.close(&announced)?;
            let request = &closing.0.request;
            let path = folder.layout().file(&request.ns, &request.snapshot, &target.name);
            let content = match closing.0.paths.get() {
                Some(_) => read_if_there(&path)?.unwrap_or_default(),
                None => Vec::new(),
            };
            Ok((path, content))
        };
        let (path, content) = run_blocking(close).await.unwrap_or_else(shutting_down)?;
        let Some(paths) = self.inner.paths.get() else { return Ok(()) };
        let put = paths.put(&self.inner.request, &index.name, content.into()).await;
        if put.is_err() {
            let clearing = Arc::clone(busy);
            let remove = move || {
                // Else the folder is gone with all it held.
                let Ok(_folder) = clearing.0.footprint.enter() else { return Ok(()) };
                Ok(remove_if_there(&path)?)
            };
            run_blocking(remove).await.unwrap_or_else(shutting_down)?;
        }
        Ok(put?)
    }

    async fn create(
        &self,
        name: &ArchiveName,
        kind: IndexKind,
        make: impl FnOnce(&Inner, &ArchiveName) -> Result<Writer, IndexError> + Send + 'static,
    ) -> Result<u32, BackupError> {
        check_suffix(name, kind)?;
        let (wid, busy) = {
            let mut state = self.inner.open_state()?;
            if state.writers_opened == WRITERS_MAX {
                return Err(BackupError::TooManyWriters);
            }
            if !state.index_names.insert(name.clone()) {
                return Err(BackupError::NameInUse { name: name.clone() });
            }
            state.writers_opened += 1;
            state.busy += 1;
            (state.writers_opened, super::Busy(Arc::clone(&self.inner)))
        };
        let name = name.clone();
        let create = move || {
            let inner = &busy.0;
            let failed = |source| BackupError::Index { name: name.clone(), source };
            let entered = inner.footprint.enter();
            let writer = entered.and_then(|_folder| make(inner, &name).map_err(failed));
            let mut state = inner.state();
            match writer {
                Ok(writer) => {
                    let reused = matches!(&writer, Writer::Fixed(writer) if writer.is_prefilled());
                    state.indexes.insert(wid, Arc::new(OpenIndex::new(name.clone(), writer, reused)));
                    Ok(wid)
                }
                Err(error) => {
                    state.index_names.remove(&name);
                    Err(error)
                }
            }
        };
        run_blocking(create).await.unwrap_or(Err(BackupError::Tree(TreeError::ShuttingDown)))
    }

    /// Looks up the plain lengths of entries up to the first unknown one (R17), which comes second.
    async fn resolve(&self, entries: &[(Digest, u64)]) -> Result<(Vec<Entry>, Option<Digest>), BackupError> {
        let mut resolved = Vec::with_capacity(entries.len());
        for (digest, offset) in entries.iter().copied() {
            let known = self.inner.open_state()?.known.plain_len(&digest);
            let plain_len = match known {
                None if is_off("r17") => self.stored_plain_len(&digest).await,
                known => known,
            };
            let Some(plain_len) = plain_len else { return Ok((resolved, Some(digest))) };
            resolved.push(Entry { digest, offset, plain_len });
        }
        Ok((resolved, None))
    }

    /// What R17 forbids: taking whatever the store has. Used with the rule switched off only.
    async fn stored_plain_len(&self, digest: &Digest) -> Option<u64> {
        let blob = self.inner.store.chunks().load(digest).await.ok()?;
        Some(blob.decode(coldkeep_chunk_store::blob::CHUNK_BYTES_MAX).ok()?.len() as u64)
    }

    /// Refreshes the chunks of the previous index if its recomputed checksum is the given one, batch by batch.
    async fn touch_previous(&self, name: &ArchiveName, csum: Digest) -> Result<(), BackupError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        let read = move || {
            let failed = |source| BackupError::Index { name: name.clone(), source };
            let index = inner.previous_index(&name).map_err(|error| match error {
                IndexError::File(error) if is_missing(&error) => {
                    let snapshot = inner.base.clone().unwrap_or_else(|| inner.request.snapshot.clone());
                    BackupError::NoPreviousFile { snapshot, name: name.clone() }
                }
                error => failed(error),
            })?;
            let got = index.compute_csum().map_err(failed)?;
            if got != csum {
                return Err(failed(IndexError::Checksum { expected: csum, got }));
            }
            inner.learn(&index, &name)?;
            let digests: Result<Vec<Digest>, _> =
                index.spans().map(|span| Ok(span.map_err(failed)?.digest)).collect();
            digests
        };
        let digests = run_blocking(read).await.unwrap_or(Err(BackupError::Tree(TreeError::ShuttingDown)))?;
        for batch in digests.chunks(TOUCH_BATCH) {
            self.touch(batch).await?;
        }
        Ok(())
    }

    /// Refreshes chunks for this session (R5); if one is gone, the session fails and its base is not trusted any more.
    async fn touch(&self, digests: &[Digest]) -> Result<(), BackupError> {
        if digests.is_empty() || is_off("r5") {
            return Ok(());
        }
        let session = self.inner.open_state()?.session()?;
        match self.inner.store.chunks().touch(&session, digests).await {
            Ok(()) => {
                self.inner.state().known.mark_told(digests);
                Ok(())
            }
            Err(TouchError::Missing { digest }) => {
                self.inner.fail(digest).await?;
                Err(BackupError::ChunkLost { digest })
            }
            Err(TouchError::Dir(error)) => Err(error.into()),
            Err(error) => Err(BackupError::Touch(error)),
        }
    }
}

impl Inner {
    fn origin(&self) -> IndexOrigin {
        let mut uuid = [0; 16];
        // The id only tells indexes apart; without randomness zeros do, and the time still differs.
        let _ = getrandom::fill(&mut uuid);
        IndexOrigin { uuid, created_at: self.store.chunks().now().unix_seconds() }
    }

    fn fixed_writer(&self, name: &ArchiveName, size: Option<u64>) -> Result<FixedIndexWriter, IndexError> {
        let target = self.store.tree().layout.file(&self.request.ns, &self.request.snapshot, name);
        FixedIndexWriter::create(&target, size, self.origin())
    }

    fn previous_index(&self, name: &ArchiveName) -> Result<IndexReader, IndexError> {
        // Callers checked that there is a base; the session's own snapshot has no index of this name yet.
        let base = self.base.as_ref().unwrap_or(&self.request.snapshot);
        IndexReader::open(&self.store.tree().layout.file(&self.request.ns, base, name), IndexKind::Fixed)
    }

    /// Ends the session because a chunk of its base is gone: the base is marked as failed and the folder removed.
    async fn fail(self: &Arc<Self>, digest: Digest) -> Result<(), BackupError> {
        self.state().phase = Phase::Failed(digest);
        let distrusted = self.distrust_base().await;
        let removed = self.give_up().await;
        Ok(distrusted.and(removed)?)
    }
}
