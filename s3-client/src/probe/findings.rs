//! What can be found of each capability.

use std::time::Duration;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
pub enum Found {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It could not be told.
    #[default]
    Unknown,
}

/// What a server makes of a condition on a put (spec `s3-servers.md` §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConditionClass {
    /// It holds, and every race had one winner.
    Atomic,
    /// It holds in sequence, and a race had several winners: of no use as a lock.
    NotAtomic {
        /// Most winners of a race.
        winners: u32,
    },
    /// It is not looked at: the put overwrites.
    Ignored,
    /// A put that has it is refused, whether or not it holds.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told.
    #[default]
    Unknown,
}

/// How `If-Match` wants the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
pub enum TagForm {
    /// In quotes, as RFC 9110 §8.8.3 has it.
    Quoted,
    /// Without (Ceph RADOS gateway 16).
    Unquoted,
}

/// Whether multi-delete works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum MultiDelete {
    /// It deletes what it says it does.
    Works,
    /// It is refused.
    Refused {
        /// The status.
        status: u16,
    },
    /// Objects stayed that it said were gone, or its answer cannot be understood.
    Unreliable,
    /// It could not be told.
    #[default]
    Unknown,
}

/// What a server makes of a hash that goes with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verification {
    /// It compares it: a wrong one is refused, and nothing is stored.
    Verified,
    /// A wrong one is refused, and the object is stored all the same.
    StoredAnyway,
    /// It is not looked at: an upload with a wrong one succeeds.
    Ignored,
    /// An upload is refused although its hash is right.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told.
    #[default]
    Unknown,
}

/// How far a signing time may be from the server's clock, on one side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SignatureWindow {
    /// The server looks at it.
    Bounded {
        /// The largest distance at which a request was accepted, give or take a few seconds.
        #[cfg_attr(feature = "serde", serde(rename = "accepted_millis", with = "super::stored::millis"))]
        accepted: Duration,
        /// A distance at which, and beyond which, requests were refused: an upper bound.
        #[cfg_attr(feature = "serde", serde(rename = "refused_millis", with = "super::stored::millis"))]
        refused: Duration,
    },
    /// The server did not mind 25 hours: it does not look at it.
    Unbounded,
    /// It could not be told.
    #[default]
    Unknown,
}

/// Whether presigned requests work, and end with their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Presigning {
    /// They are accepted within their time, and refused with nothing done after it.
    Enforced {
        /// So long after their expiry, and later, they were refused: an upper bound.
        #[cfg_attr(feature = "serde", serde(rename = "late_millis", with = "super::stored::millis"))]
        late: Duration,
    },
    /// They are accepted an hour after their expiry, too.
    NotEnforced,
    /// They are refused within their time.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told.
    #[default]
    Unknown,
}

/// Until when a write that got no answer can still be accepted (R9 and R19 of Coldkeep's design).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestBound {
    /// Presigned: until its expiry.
    Presigned {
        /// So long after the expiry at the latest: the server's clock and leeway.
        late: Duration,
    },
    /// With signed headers: so long after its signing time at the latest.
    SignedHeaders {
        /// The server's window.
        window: Duration,
    },
    /// At any time: the server enforces neither, or it could not be told.
    None,
}

/// Whether a write that changes nothing refreshes the date of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Refresh {
    /// It does.
    Refreshed,
    /// It does not.
    Kept,
    /// It is refused.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told; for one, the probe was quicker than the dates are fine.
    #[default]
    Unknown,
}

/// Difference of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct ClockOffset {
    /// The server's clock minus ours.
    pub ahead_millis: i64,
    /// It is this much more or less at most.
    pub uncertainty_millis: u64,
}

/// How keys come in listings when `encoding-type=url` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum KeyEncoding {
    /// Encoded, and the answer says so.
    Url,
    /// As they are: the parameter is ignored, and control characters break the XML.
    Plain,
    /// As they are, although the answer says that they are encoded (s3s-fs 0.14); without the parameter it does not.
    Claimed,
    /// The parameter is refused; without it there is a listing.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told.
    #[default]
    Unknown,
}

/// What became of an object with an odd key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum KeyFault {
    /// Its put was refused.
    Refused {
        /// The status.
        status: u16,
    },
    /// Its put had no answer, or none of S3.
    Failed,
    /// It was put, and a get finds nothing or something else.
    Lost,
    /// It can be read, and listings have another key instead.
    Altered {
        /// That key, behind the probe's prefix.
        listed: String,
    },
    /// It can be read, and listings leave it out or cannot be understood.
    Unlisted,
}

/// An odd key that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[non_exhaustive]
pub struct OddKey {
    /// What is odd about it.
    pub kind: String,
    /// What happened.
    pub fault: KeyFault,
}

/// What a server makes of `Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ranges {
    /// It answers 206 with the range.
    Partial,
    /// It answers 200 with the range and `Content-Range`.
    Whole,
    /// It sends everything.
    Ignored,
    /// It sends something else than the range.
    Wrong,
    /// It refuses.
    Refused {
        /// The status.
        status: u16,
    },
    /// It could not be told.
    #[default]
    Unknown,
}

/// Whether the bucket keeps old versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BucketVersions {
    /// It never did.
    Off,
    /// It does.
    Kept,
    /// It did once.
    Suspended,
    /// It could not be told; for one, the credentials may not ask.
    #[default]
    Unknown,
}
