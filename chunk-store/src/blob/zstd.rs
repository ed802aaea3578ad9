//! Compression of payloads, bounded on the way in and on the way out.

use std::io::{self, Read};

use super::{BlobError, Compression, ENCODE_BYTES_MAX};

/// Level 1, as stock writers use (spec `formats.md` §2.3).
const LEVEL: i32 = 1;

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
pub(super) fn decompress(frames: &[u8], max_len: usize) -> Result<Vec<u8>, BlobError> {
    let declared = zstd::zstd_safe::get_frame_content_size(frames).ok().flatten();
    let declared = declared.and_then(|len| usize::try_from(len).ok());
    if let Some(len) = declared.filter(|len| *len <= max_len && !asks_for_too_large_a_window(frames)) {
        // One frame of known length is the usual case and needs no window and no copy out of it.
        let mut data = Vec::with_capacity(len);
        let mut decompressor = zstd::bulk::Decompressor::new().map_err(BlobError::Decompress)?;
        if decompressor.decompress_to_buffer(frames, &mut data).is_ok() {
            return Ok(data);
        }
    }
    // In the pieces in which an upload is checked: of malformed frames libzstd takes more the less room it is given.
    let mut data = Vec::new();
    PlainReader::frames(frames)?.for_each(max_len as u64, |piece| data.extend_from_slice(piece))?;
    Ok(data)
}

/// Whether the first frame is one that the stream decoder refuses for its window; the bulk decoder needs none and takes it.
/// The byte behind the frame header's descriptor is the window's, unless the data is one segment (RFC 8878, 3.1.1.1).
fn asks_for_too_large_a_window(frames: &[u8]) -> bool {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    const LARGEST: u8 = (WINDOW_LOG_MAX as u8 - 10) << 3;
    matches!(frames, [_, _, _, _, descriptor, window, ..] if descriptor & SINGLE_SEGMENT == 0 && *window > LARGEST)
}

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
}

impl Read for Frames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// Hands out the plain data of an unencrypted payload in pieces, so that checking a chunk needs no second buffer of
/// its size.
pub(crate) struct PlainReader<'a>(Source<'a>);

enum Source<'a> {
    Raw(&'a [u8]),
    Frames(Frames<'a>),
}

/// Large enough to keep the hash busy, small enough to stay in the cache.
const PIECE_BYTES: usize = 128 << 10;

impl<'a> PlainReader<'a> {
    pub(crate) fn raw(payload: &'a [u8]) -> Self {
        Self(Source::Raw(payload))
    }

    pub(crate) fn frames(payload: &'a [u8]) -> Result<Self, BlobError> {
        Frames::new(payload).map(|frames| Self(Source::Frames(frames)))
    }

    /// Calls `take` with each piece; stops with an error once more than `max_len` bytes came out.
    pub(crate) fn for_each(self, max_len: u64, mut take: impl FnMut(&[u8])) -> Result<u64, BlobError> {
        let too_large = BlobError::TooLarge { max: max_len as usize };
        match self.0 {
            Source::Raw(data) if data.len() as u64 > max_len => Err(too_large),
            Source::Raw(data) => {
                take(data);
                Ok(data.len() as u64)
            }
            Source::Frames(mut frames) => {
                let mut piece = vec![0; PIECE_BYTES];
                let mut len = 0;
                loop {
                    let count = frames.read(&mut piece).map_err(BlobError::Decompress)?;
                    if count == 0 {
                        return Ok(len);
                    }
                    len += count as u64;
                    if len > max_len {
                        return Err(too_large);
                    }
                    take(&piece[..count]);
                }
            }
        }
    }
}
