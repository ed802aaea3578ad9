//! The chunks of a history: few, small, named by number, and each with more than one encoding.

use std::sync::Arc;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::blob::{Blob, ChunkClass, Compression, CryptKey};
use coldkeep_chunk_store::dir::EntryName;
use coldkeep_chunk_store::{CheckedChunk, Digest};

/// Most chunks of a history.
pub(crate) const CHUNKS: usize = 10;

/// The chunks of histories with plain chunks only, and of those that have both classes; made once.
#[derive(Debug)]
pub(crate) struct ChunkSets {
    pub(crate) plain: Arc<Chunks>,
    pub(crate) mixed: Arc<Chunks>,
}

/// All chunks of a history.
#[derive(Debug)]
pub(crate) struct Chunks {
    chunks: Vec<Chunk>,
}

/// How somebody encodes a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Usual,
    /// One digest has many encodings (R3): compressed, or encrypted with another initialisation vector.
    Other,
    /// What nobody honest sends: something encrypted by who knows whom, which no server can check, under the digest of another's
    /// chunk (hazard H37).
    Claim,
}

/// What somebody relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) number: usize,
    /// Only the content that the digest names will do. Whoever put a claim, or knows a digest by one, may get either (R2).
    pub(crate) is_honest: bool,
}

/// What is stored under a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Nothing whole.
    Nothing,
    Honest,
    Claim,
    /// It went bad.
    Rotten,
}

#[derive(Debug)]
struct Chunk {
    digest: Digest,
    key: String,
    /// In the order of [`Form`].
    forms: [CheckedChunk; 3],
}

impl ChunkSets {
    pub(crate) fn new() -> Self {
        let mixed = |number| if number % 2 == 0 { Chunk::plain(number) } else { Chunk::encrypted(number) };
        Self {
            plain: Arc::new(Chunks { chunks: (0..CHUNKS).map(Chunk::plain).collect() }),
            mixed: Arc::new(Chunks { chunks: (0..CHUNKS).map(mixed).collect() }),
        }
    }
}

impl Chunks {
    pub(crate) fn checked(&self, number: usize, form: Form) -> CheckedChunk {
        self.chunks[number].forms[form as usize].clone()
    }

    pub(crate) fn digest(&self, number: usize) -> Digest {
        self.chunks[number].digest
    }

    /// Returns the key of the chunk's object.
    pub(crate) fn key(&self, number: usize) -> &str {
        &self.chunks[number].key
    }

    pub(crate) fn number(&self, digest: &Digest) -> Option<usize> {
        self.chunks.iter().position(|chunk| chunk.digest == *digest)
    }

    /// Says what is stored as these bytes.
    pub(crate) fn stored(&self, number: usize, content: Option<&[u8]>) -> Stored {
        let Some((content, form)) = content.and_then(|content| Some((content, self.form(number, content)?)))
        else {
            return Stored::Nothing;
        };
        match self.checked(number, form).blob().as_bytes() == content {
            true if form == Form::Claim => Stored::Claim,
            true => Stored::Honest,
            false => Stored::Rotten,
        }
    }

    /// Returns whether these bytes are what is needed, or were before they went bad.
    pub(crate) fn has_need(&self, need: Need, content: &[u8]) -> bool {
        let form = self.form(need.number, content);
        form.is_some_and(|form| !need.is_honest || form != Form::Claim)
    }

    /// Returns whether a blob is what is needed.
    pub(crate) fn is_needed(&self, need: Need, blob: &Blob) -> bool {
        let stored = self.stored(need.number, Some(blob.as_bytes()));
        stored == Stored::Honest || (stored == Stored::Claim && !need.is_honest)
    }

    /// Returns whether the digest is that of plain content.
    pub(crate) fn is_plain(&self, number: usize) -> bool {
        self.chunks[number].forms[0].blob().class() == ChunkClass::Plain
    }

    /// Returns the form that these bytes are, or were before their last one went bad.
    fn form(&self, number: usize, content: &[u8]) -> Option<Form> {
        let is_form = |form: &Form| {
            let bytes = self.chunks[number].forms[*form as usize].blob().as_bytes();
            bytes.len() == content.len() && bytes[..bytes.len() - 1] == content[..content.len() - 1]
        };
        [Form::Usual, Form::Other, Form::Claim].into_iter().find(is_form)
    }
}

impl Chunk {
    fn plain(number: usize) -> Self {
        let content = content(number);
        let plain = |compression| Blob::encode(content.as_bytes(), compression).expect("a small blob");
        let [usual, other] = [plain(Compression::None), plain(Compression::Zstd)];
        Self::new(Digest::of(content.as_bytes()), content.len(), [usual, other, encrypted(&content, 7, 0)])
    }

    fn encrypted(number: usize) -> Self {
        let content = content(number);
        let forms = [(7, 0), (7, 1), (8, 0)].map(|(key, iv)| encrypted(&content, key, iv));
        Self::new(key(7).digest(content.as_bytes()), content.len(), forms)
    }

    fn new(digest: Digest, len: usize, forms: [Blob; 3]) -> Self {
        let check =
            |blob: Blob| CheckedChunk::check(digest, len as u64, blob.into_bytes()).expect("a good chunk");
        let key = ObjectKey::of_entry(EntryName::chunk(digest)).to_string();
        Self { digest, key, forms: forms.map(check) }
    }
}

fn key(byte: u8) -> CryptKey {
    CryptKey::new([byte; 32])
}

fn encrypted(content: &str, by: u8, iv: u8) -> Blob {
    Blob::encode_with(content.as_bytes(), Compression::None, &key(by), [iv; 16]).expect("a small blob")
}

/// Of one length, as chunks of fixed size are, and such that compression makes it shorter.
fn content(number: usize) -> String {
    format!("content {number:02}{:-<40}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_two_encodings_and_a_claim_which_serves_nobody_who_needs_its_content() {
        for chunks in [ChunkSets::new().plain, ChunkSets::new().mixed] {
            let [usual, other, claim] =
                [Form::Usual, Form::Other, Form::Claim].map(|form| chunks.checked(1, form).blob().clone());
            assert_ne!(usual, other);
            let need = |is_honest| Need { number: 1, is_honest };
            for blob in [&usual, &other] {
                assert!(chunks.is_needed(need(true), blob) && chunks.is_needed(need(false), blob));
            }
            assert!(!chunks.is_needed(need(true), &claim) && chunks.is_needed(need(false), &claim));
            assert!(!chunks.is_needed(Need { number: 2, is_honest: false }, &claim));
        }
    }

    #[test]
    fn what_went_bad_is_still_what_it_was_and_what_was_cut_is_nothing() {
        let chunks = ChunkSets::new().mixed;
        let mut content = chunks.checked(1, Form::Other).blob().as_bytes().to_vec();
        assert_eq!(chunks.stored(1, Some(&content)), Stored::Honest);
        assert_eq!(chunks.stored(1, Some(&content[1..])), Stored::Nothing);
        *content.last_mut().unwrap() ^= 1;
        assert_eq!(chunks.stored(1, Some(&content)), Stored::Rotten);
        assert!(chunks.has_need(Need { number: 1, is_honest: true }, &content));
        assert!(!chunks.has_need(Need { number: 2, is_honest: false }, &content));
    }
}
