//! Answers that are none of S3, and requests that cannot be made.

use thiserror::Error;

use crate::sign::SignError;
use crate::xml::XmlError;

/// What is wrong with an answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnswerFlaw {
    /// It is not the XML document that the API describes.
    #[error("the body cannot be read as XML of S3")]
    Xml(#[from] XmlError),
    /// A header is missing.
    #[error("the header {name} is missing")]
    MissingHeader {
        /// Its name.
        name: &'static str,
    },
    /// A header's value cannot be understood.
    #[error("the header {name} has the unreadable value {value:?}")]
    InvalidHeader {
        /// Its name.
        name: &'static str,
        /// Its value, clipped.
        value: String,
    },
    /// The body has another length than announced.
    #[error("the body has {got} bytes instead of {expected}")]
    WrongLength {
        /// Bytes announced.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// The body is longer than the caller or the client takes.
    #[error("the body has more than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: u64,
    },
    /// Neither the headers nor the framing say how long the body is, so that a cut could not be noticed.
    #[error("the length of the body is not known")]
    UnknownLength,
    /// The body does not match the checksum that came with it.
    #[error("the body does not match its {algorithm} checksum")]
    WrongChecksum {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// Another part of the object came than was asked for.
    #[error("the answer holds another range than {asked}")]
    WrongRange {
        /// The range asked for, as in the `Range` header.
        asked: String,
    },
    /// A refusal whose body is no error document of S3: something between here and the service sent it.
    #[error("the answer has status {status}, but its body is no error document of S3")]
    NoErrorDocument {
        /// The status.
        status: u16,
        /// What the body is instead.
        #[source]
        source: XmlError,
    },
    /// A listing goes in circles.
    #[error("the listing goes in circles: its pages repeat")]
    EndlessListing,
}

impl AnswerFlaw {
    /// Returns whether the next answer may well be free of it: what was cut, garbled or answered by a proxy, but not what a server sends
    /// because it does things differently.
    pub fn may_pass(&self) -> bool {
        match self {
            AnswerFlaw::Xml(error) => error.may_pass(),
            AnswerFlaw::WrongLength { .. }
            | AnswerFlaw::WrongChecksum { .. }
            // A sign-in page with status 200 has none of the headers of S3.
            | AnswerFlaw::MissingHeader { .. }
            | AnswerFlaw::NoErrorDocument { .. } => true,
            AnswerFlaw::InvalidHeader { .. }
            | AnswerFlaw::TooLong { .. }
            | AnswerFlaw::UnknownLength
            | AnswerFlaw::WrongRange { .. }
            | AnswerFlaw::EndlessListing => false,
        }
    }
}

/// Why a request cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A value cannot stand in a header.
    #[error("the value of {name} cannot stand in a header")]
    Header {
        /// The header.
        name: String,
    },
    /// A key cannot stand in an XML document.
    #[error("a key holds a character that XML cannot express; delete it alone")]
    Xml,
    /// A number is out of its bounds.
    #[error("{name} is {value}; it must be {allowed}")]
    OutOfRange {
        /// What it is.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The bounds.
        allowed: &'static str,
    },
    /// A quirk of the provider rules it out.
    #[error("the provider does not have {what} (quirk)")]
    Unsupported {
        /// What is missing.
        what: &'static str,
    },
    /// It cannot be signed.
    #[error("it cannot be signed")]
    Sign(#[from] SignError),
}
