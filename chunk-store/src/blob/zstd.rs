//! Compression of payloads, bounded on the way in and on the way out.

use std::io::{self, Read};

use zstd::zstd_safe::CParameter;

use super::{BlobError, Compression, ENCODE_BYTES_MAX};

/// Level 1, as stock writers use (spec `formats.md` §2.3).
const LEVEL: i32 = 1;

/// Window of the frames made here, as a power of two; libzstd shortens it to what the data needs. It holds a whole chunk, so that all
/// of a frame is one segment: it decodes in one way only, which whoever takes it need not make sure of by a second pass
/// ([`decompress_unambiguous`]).
const ENCODE_WINDOW_LOG: u32 = 24;

/// Largest window a frame may ask for, as a power of two: 32 MiB bounds the memory that a hostile frame can claim,
/// and no frame of a 16 MiB chunk needs more.
const WINDOW_LOG_MAX: u32 = 25;

/// Returns `header` zero bytes followed by the compressed data, or by the data itself; and which of the two it is.
pub(super) fn compress_behind_header(
    data: &[u8],
    compression: Compression,
    header: usize,
) -> Result<(Vec<u8>, bool), BlobError> {
    if data.len() > ENCODE_BYTES_MAX {
        return Err(BlobError::TooLarge { max: ENCODE_BYTES_MAX });
    }
    let mut bytes = vec![0; header + data.len()];
    if compression == Compression::Zstd && !data.is_empty() {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(BlobError::Compress)?;
        compressor.set_parameter(CParameter::WindowLog(ENCODE_WINDOW_LOG)).map_err(BlobError::Compress)?;
        // The target is as long as the data: "does not fit" is the answer for data that compression does not shorten.
        if let Ok(len) = compressor.compress_to_buffer(data, &mut bytes[header..]) {
            bytes.truncate(header + len);
            // Far more room than content would keep memory alive while the blob waits to be sent.
            if len < data.len() / 2 {
                bytes.shrink_to_fit();
            }
            return Ok((bytes, true));
        }
    }
    bytes[header..].copy_from_slice(data);
    Ok((bytes, false))
}

/// Decompresses any number of frames to at most `max_len` bytes.
pub(crate) fn decompress(frames: &[u8], max_len: usize) -> Result<Vec<u8>, BlobError> {
    match as_declared(frames, max_len) {
        Some(data) => Ok(data),
        None => in_pieces(frames, max_len),
    }
}

/// Does the same, if everybody who decodes these frames gets the same, piece by piece or all at once.
///
/// A match that reaches beyond its frame's window is malformed (RFC 8878, 3.1.1.1.2), but libzstd does not refuse it: decoding all at
/// once finds what was meant, and decoding through a window what stands there by then. A hostile writer could so have one content
/// checked and another one restored, of a chunk that others rely on (R2).
pub(crate) fn decompress_unambiguous(frames: &[u8], max_len: usize) -> Result<Vec<u8>, BlobError> {
    let (data, is_same) = if let Some(data) = as_declared(frames, max_len) {
        let is_same = is_one_segment(frames) || is_same_in_pieces(frames, &data)?;
        (data, is_same)
    } else {
        let data = in_pieces(frames, max_len)?;
        let is_same = at_once(frames, data.len()).is_ok_and(|other| other == data);
        (data, is_same)
    };
    if is_same {
        Ok(data)
    } else {
        Err(BlobError::Decompress(io::Error::other("it can be decoded in two ways")))
    }
}

/// Decompresses one frame that says how long its data is: the usual case, which needs no window and no copy out of it.
fn as_declared(frames: &[u8], max_len: usize) -> Option<Vec<u8>> {
    let declared = zstd::zstd_safe::get_frame_content_size(frames).ok().flatten()?;
    let len = usize::try_from(declared).ok().filter(|len| *len <= max_len)?;
    at_once(frames, len).ok()
}

fn at_once(frames: &[u8], len: usize) -> io::Result<Vec<u8>> {
    let mut data = Vec::with_capacity(len);
    zstd::bulk::Decompressor::new()?.decompress_to_buffer(frames, &mut data)?;
    Ok(data)
}

fn in_pieces(frames: &[u8], max_len: usize) -> Result<Vec<u8>, BlobError> {
    let mut data = Vec::new();
    Frames::new(frames)?.for_each(max_len, |piece| data.extend_from_slice(piece))?;
    Ok(data)
}

fn is_same_in_pieces(frames: &[u8], data: &[u8]) -> Result<bool, BlobError> {
    let mut rest = Some(data);
    Frames::new(frames)?
        .for_each(data.len(), |piece| rest = rest.and_then(|rest| rest.strip_prefix(piece)))?;
    Ok(rest.is_some_and(<[u8]>::is_empty))
}

/// Tells whether there is one frame whose window is all of its data.
pub(super) fn is_one_segment(frames: &[u8]) -> bool {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    let has_it = matches!(frames, [_, _, _, _, descriptor, ..] if descriptor & SINGLE_SEGMENT != 0);
    has_it && zstd::zstd_safe::find_frame_compressed_size(frames) == Ok(frames.len())
}

/// Large enough to be fast, small enough to stay in the cache.
const PIECE_BYTES: usize = 128 << 10;

/// Decompresses frames piece by piece.
struct Frames<'a>(zstd::stream::read::Decoder<'static, io::BufReader<&'a [u8]>>);

impl<'a> Frames<'a> {
    fn new(frames: &'a [u8]) -> Result<Self, BlobError> {
        if frames.is_empty() {
            // The stream decoder takes nothing at all for the end of the data; a payload has at least one frame.
            return Err(BlobError::Decompress(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut decoder = zstd::stream::read::Decoder::new(frames).map_err(BlobError::Decompress)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(BlobError::Decompress)?;
        Ok(Self(decoder))
    }

    /// Calls `take` with each piece; stops with an error once more than `max_len` bytes came out. Pieces are of one size whatever the
    /// limit: of malformed frames libzstd takes more the less room it is given.
    fn for_each(mut self, max_len: usize, mut take: impl FnMut(&[u8])) -> Result<(), BlobError> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut len = 0;
        loop {
            let count = self.0.read(&mut piece).map_err(BlobError::Decompress)?;
            if count == 0 {
                return Ok(());
            }
            len += count;
            if len > max_len {
                return Err(BlobError::TooLarge { max: max_len });
            }
            take(&piece[..count]);
        }
    }
}
