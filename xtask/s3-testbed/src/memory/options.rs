//! How the server behaves.

use std::time::Duration;

use crate::TestClock;

/// What kind of server [`MemoryS3`](crate::MemoryS3) is. The default is S3 as the API reference describes it.
///
/// ```
/// use coldkeep_s3_testbed::{ConditionalPut, Options};
/// let like_rclone = Options { conditional_put: ConditionalPut::Ignored, ..Options::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `Date`, `Last-Modified` and the age of signatures come from.
    pub clock: TestClock,
    /// How far `X-Amz-Date` may be from the clock, either way; `None` checks no date. S3: 15 minutes.
    pub skew_max: Option<Duration>,
    /// Whether an expired presigned request is refused.
    pub enforces_expiry: bool,
    /// The region that signatures must name; `None` takes any.
    pub region: Option<String>,
    /// What `If-None-Match: *` and `If-Match` on a put do.
    pub conditional_put: ConditionalPut,
    /// What is left out.
    pub lacks: Vec<Lack>,
    /// For benchmarks: hashes, checks and logs nothing, so that the server costs little; `ETag`s are running
    /// numbers, formed as those of objects that came in parts.
    pub fast: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            clock: TestClock::system(),
            skew_max: Some(Duration::from_mins(15)),
            enforces_expiry: true,
            region: None,
            conditional_put: ConditionalPut::Atomic,
            lacks: Vec::new(),
            fast: false,
        }
    }
}

/// The classes of conditional put that real servers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalPut {
    /// One winner of any race (AWS, Ceph).
    Atomic,
    /// `501 NotImplemented`, with or without an existing key.
    Refused,
    /// The header is ignored and the object overwritten (`rclone`).
    Ignored,
    /// `412` in sequence, several winners in a race (`s3s-fs`).
    NotAtomic,
}

/// Something that some servers do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// `If-Match` on a put is ignored.
    IfMatch,
    /// `x-amz-checksum-*` is neither checked nor stored nor answered (Ceph 16).
    Checksums,
    /// `encoding-type=url` of a listing is ignored, and the answer does not claim it.
    EncodingType,
    /// `encoding-type=url` of a listing is claimed in the answer, and names are as they are (`s3s-fs`).
    EncodedNames,
    /// `POST ?delete` answers `501 NotImplemented`.
    MultiDelete,
    /// Quiet mode of a multi-delete is ignored.
    QuietDelete,
    /// `NextContinuationToken` is missing from a truncated listing.
    NextToken,
}

impl Options {
    pub(crate) fn lacks(&self, what: Lack) -> bool {
        self.lacks.contains(&what)
    }
}
