//! The journal's file; byte layout in `docs/FORMAT.md`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, PathState};
use crate::digest::{DIGEST_BYTES, Digest};
use crate::time::StoreTime;

/// The first bytes of the file: its name and version.
const MAGIC: [u8; 8] = *b"CKJRNL\x001";
const CHUNKS: u8 = 1;
const PATH: u8 = 2;

/// The journal's file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal .coldkeep/journal is damaged; remove .coldkeep/generation, so that the store is rebuilt from the bucket"
)]
pub struct JournalError;

pub(super) fn encode<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    paths: &BTreeMap<String, PathState>,
) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for entry in entries {
        file.extend([CHUNKS, u8::from(entry.in_limbo)]);
        file.extend(entry.expires_at.unix_nanos().to_le_bytes());
        push_text(&mut file, &entry.token);
        file.extend((entry.digests.len() as u32).to_le_bytes());
        entry.digests.iter().for_each(|digest| file.extend(digest.as_bytes()));
    }
    for (path, state) in paths {
        let (is_closed, until) = match state {
            PathState::Claimed => (false, StoreTime::EPOCH),
            PathState::Closed(until) => (true, *until),
        };
        file.extend([PATH, u8::from(is_closed)]);
        file.extend(until.unix_nanos().to_le_bytes());
        push_text(&mut file, path);
    }
    let crc = crc32fast::hash(&file);
    file.extend(crc.to_le_bytes());
    file
}

/// Texts are tokens and keys, far shorter than 64 KiB.
fn push_text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
}

type Content = (Vec<Entry>, BTreeMap<String, PathState>);

pub(super) fn decode(file: &[u8]) -> Result<Content, JournalError> {
    let (body, crc) = file.split_last_chunk::<4>().ok_or(JournalError)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(JournalError);
    }
    let mut rest = Reader(body.strip_prefix(&MAGIC).ok_or(JournalError)?);
    let (mut entries, mut paths, mut named) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    while !rest.0.is_empty() {
        let [kind, flag] = rest.take()?;
        let time = StoreTime::from_unix_nanos(i64::from_le_bytes(rest.take()?));
        let text = rest.text()?;
        match kind {
            CHUNKS => {
                let count = u32::from_le_bytes(rest.take()?);
                let digests: Result<BTreeSet<Digest>, _> =
                    (0..count).map(|_| rest.take::<DIGEST_BYTES>().map(Digest::from_bytes)).collect();
                let digests = digests?;
                // A journalled digest is in no other entry (R8), so that its expiry is the one that counts.
                if !digests.iter().all(|digest| named.insert(*digest)) {
                    return Err(JournalError);
                }
                entries.push(Entry { digests, expires_at: time, token: text, in_limbo: flag != 0 });
            }
            PATH => {
                let state = if flag == 0 { PathState::Claimed } else { PathState::Closed(time) };
                paths.insert(text, state);
            }
            _ => return Err(JournalError),
        }
    }
    Ok((entries, paths))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], JournalError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(JournalError)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn text(&mut self) -> Result<String, JournalError> {
        let len = usize::from(u16::from_le_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(len).ok_or(JournalError)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| JournalError)
    }
}
