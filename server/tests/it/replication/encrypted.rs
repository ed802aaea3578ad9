//! Snapshots that only their owner can read: copied as they are, and what can be checked without a key is.

use std::sync::Arc;

use bytes::Bytes;
use coldkeep_chunk_store::blob::{Blob, Compression, CryptKey};
use coldkeep_chunk_store::{Digest, DigestBuilder};
use coldkeep_client::{BoxError, LoadChunk};
use coldkeep_datastore::manifest::{CryptMode, FileInfo};
use coldkeep_datastore::{ChunkSpan, Manifest, SnapshotName};

use super::{Pair, STREAM, TIME, back_up, content, count, errors};
use crate::site::{Site, archive, small, snapshot};

/// Chunks of a client that encrypts, by what they hold.
struct Encrypted {
    key: CryptKey,
    data: Vec<Vec<u8>>,
}

impl Encrypted {
    fn new() -> Arc<Self> {
        let data = ["first", "second", "third"].map(|text| text.repeat(100).into_bytes()).into();
        Arc::new(Self { key: CryptKey::new([7; 32]), data })
    }

    /// The entries of their index, with its size and checksum.
    fn spans(&self) -> (Vec<ChunkSpan>, u64, Digest) {
        let (mut spans, mut end, mut csum) = (Vec::new(), 0, DigestBuilder::new());
        for data in &self.data {
            let (start, digest) = (end, self.key.digest(data));
            end += data.len() as u64;
            csum.update(&end.to_le_bytes());
            csum.update(digest.as_bytes());
            spans.push(ChunkSpan { digest, start, end });
        }
        (spans, end, csum.finish())
    }

    /// Makes a snapshot of them in the source; `mode` is what its manifest says.
    async fn back_up(self: &Arc<Self>, source: &Site, name: &SnapshotName, mode: CryptMode) -> Manifest {
        let (spans, size, csum) = self.spans();
        let entry = FileInfo::new(archive(STREAM), mode, size, csum);
        let session = source.store().begin_push(name, small()).await.unwrap();
        session.upload_index(&entry, spans.into_iter(), Arc::clone(self)).await.unwrap();
        let mut manifest = Manifest::new(name);
        manifest.push(entry);
        manifest.sign(&self.key).unwrap();
        session.finish(manifest.to_blob().unwrap().into_bytes()).await.unwrap();
        manifest
    }
}

impl LoadChunk for Encrypted {
    async fn load(&self, span: ChunkSpan) -> Result<Bytes, BoxError> {
        let data = self.data.iter().find(|data| self.key.digest(data) == span.digest).unwrap();
        Ok(Blob::encode_with(data, Compression::None, &self.key, [data.len() as u8; 16])?.into_bytes())
    }
}

#[tokio::test]
async fn encrypted_snapshots_are_copied_as_they_are() {
    let mut pair = Pair::new().await;
    pair.back_up("plain", 1, &[0]).await;
    let (secret, name) = (Encrypted::new(), snapshot("secret", TIME));
    let manifest = secret.back_up(&pair.source, &name, CryptMode::Encrypt).await;
    let report = pair.pull_with(|request| request.selection.encrypted_only = true).await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "chunks_transferred")], [1, 3], "{report}");
    assert_eq!(pair.here().await, std::slice::from_ref(&name));
    let copy = pair.target.store().open_stored(&name).await.unwrap();
    assert_eq!(copy.manifest().files(), manifest.files());
    copy.manifest().check_signature(&secret.key).unwrap();
    let index = copy.index(&archive(STREAM), usize::MAX).await.unwrap();
    for (span, data) in index.spans().zip(&secret.data) {
        let blob = Blob::parse(copy.chunk(&span.digest, usize::MAX).await.unwrap()).unwrap();
        assert_eq!(blob.decode_with(&secret.key, 1 << 20).unwrap(), data);
    }
    let report = pair.pull().await.unwrap();
    assert_eq!([count(&report, "snapshots"), count(&report, "unchanged")], [1, 1], "{report}");
}

/// Goal: chunks must be of the kind that the manifest says, or the archive is not what it seems to be.
/// Method: the source's manifest calls an archive plain whose chunks are encrypted, which it cannot know itself.
#[tokio::test]
async fn a_manifest_that_lies_about_encryption_is_refused() {
    let pair = Pair::new().await;
    let (secret, name) = (Encrypted::new(), snapshot("secret", TIME));
    secret.back_up(&pair.source, &name, CryptMode::None).await;
    let (_, report) = pair.pull().await.unwrap_err();
    assert!(errors(&report).contains("encrypted where its archive is not, or the reverse"), "{report}");
    assert_eq!(pair.here().await, []);
    // A group that fails has left nothing in the way.
    let other = snapshot("secret", TIME + 1);
    back_up(&pair.target.store(), &other, &content(&[0])).await;
}

/// Goal: a chunk of another length than the index says is refused, though nobody here can read it.
/// Method: two encrypted chunks of the source change places behind its back; both are whole, and it cannot tell either.
#[tokio::test]
async fn a_chunk_of_another_length_is_refused() {
    let pair = Pair::new().await;
    let (secret, name) = (Encrypted::new(), snapshot("secret", TIME));
    secret.back_up(&pair.source, &name, CryptMode::Encrypt).await;
    let [first, second] = [0, 1].map(|at| {
        let digest = secret.key.digest(&secret.data[at]).to_string();
        pair.source.store_folder().join(".chunks").join(&digest[..4]).join(digest)
    });
    let between = first.with_extension("between");
    for (from, to) in [(&first, &between), (&second, &first), (&between, &second)] {
        std::fs::rename(from, to).unwrap();
    }
    let (_, report) = pair.pull().await.unwrap_err();
    assert!(errors(&report).contains("data of another length than the announced"), "{report}");
    assert_eq!(pair.here().await, []);
}
