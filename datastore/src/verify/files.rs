//! The files of a snapshot against its manifest; blocking.

use std::path::Path;

use coldkeep_chunk_store::Digest;
use coldkeep_chunk_store::blob::{Blob, ChunkClass, ENCODE_BYTES_MAX};

use super::{Defect, VerifyError};
use crate::file::read_if_there;
use crate::index::IndexReader;
use crate::manifest::FileInfo;
use crate::name::ArchiveKind;

/// Checks one file; an index's chunks are another matter.
pub(crate) fn check(path: &Path, expected: &FileInfo) -> Result<Option<Defect>, VerifyError> {
    match expected.filename.kind() {
        ArchiveKind::Index(kind) => {
            let checked =
                IndexReader::open(path, kind).and_then(|index| Ok((index.size(), index.compute_csum()?)));
            match checked {
                Ok((size, csum)) => Ok(compare(expected, size, csum)),
                Err(error) if error.is_not_found() => Ok(Some(missing(expected))),
                Err(source) if source.is_malformed() => {
                    Ok(Some(Defect::Index { file: expected.filename.clone(), source }))
                }
                Err(error) => Err(error.into()),
            }
        }
        ArchiveKind::Blob => {
            let Some(content) = read_if_there(path)? else { return Ok(Some(missing(expected))) };
            if let Some(defect) = compare(expected, content.len() as u64, Digest::of(&content)) {
                return Ok(Some(defect));
            }
            let decoded = Blob::parse(content.into()).and_then(|blob| {
                blob.check_crc()?;
                // An encrypted snapshot may hold plain blobs (spec `formats.md` §6.2): the blob's own class decides.
                match blob.class() {
                    ChunkClass::Plain => blob.decode(ENCODE_BYTES_MAX).map(drop),
                    ChunkClass::Encrypted => Ok(()),
                }
            });
            Ok(decoded.err().map(|source| Defect::Blob { file: expected.filename.clone(), source }))
        }
    }
}

fn compare(expected: &FileInfo, size: u64, csum: Digest) -> Option<Defect> {
    let same = (expected.size, expected.csum) == (size, csum);
    (!same).then(|| Defect::FileDiffers { file: expected.filename.clone(), size, csum })
}

fn missing(expected: &FileInfo) -> Defect {
    Defect::FileMissing { file: expected.filename.clone() }
}
