//! What can be wrong with an XML answer.

use thiserror::Error;

use super::ErrorDocument;

/// Most bytes of a document that an error repeats: enough to recognise a value, too few to flood a log.
const EXCERPT_BYTES_MAX: usize = 96;

/// Why an answer's body is not the document that the operation expects.
///
/// Paths name elements from the root down (`ListBucketResult/Contents/Size`); offsets count bytes of the body. Text of the body is
/// repeated only in excerpts of at most 96 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum XmlError {
    /// There is no document: the body holds nothing or white space.
    #[error("an empty body instead of XML")]
    Empty,
    /// The body is a web page, as proxies and load balancers answer on their own account.
    #[error("a proxy's HTML page instead of XML")]
    HtmlPage,
    /// The body does not begin like XML.
    #[error("something else than XML, beginning with {excerpt:?}")]
    NotXml {
        /// Its first characters.
        excerpt: String,
    },
    /// The document ends before its root element does.
    #[error("the XML is cut off within {path}")]
    Truncated {
        /// The innermost element that is open at the end.
        path: String,
    },
    /// The root element is closed, and yet something follows.
    #[error("the XML goes on after its end, at byte {at}")]
    TrailingContent {
        /// Where.
        at: u64,
    },
    /// The body is not UTF-8.
    #[error("a byte that is not UTF-8, at {at}")]
    NotUtf8 {
        /// Where.
        at: u64,
    },
    /// A rule of XML is broken.
    #[error("broken XML: {flaw}, at byte {at}")]
    Broken {
        /// The rule.
        flaw: &'static str,
        /// Where.
        at: u64,
    },
    /// A document type declaration, which no S3 answer has: entities could be declared in it.
    #[error("a document type declaration, at byte {at}")]
    Doctype {
        /// Where.
        at: u64,
    },
    /// A reference to an entity that XML does not predefine, or to a number that is no character.
    #[error("an unknown reference, at byte {at}")]
    Reference {
        /// Where.
        at: u64,
    },
    /// Elements are nested deeper than in any S3 answer.
    #[error("elements are nested too deeply, at byte {at}")]
    TooDeep {
        /// Where.
        at: u64,
    },
    /// The text of an element is longer than any S3 answer has.
    #[error("more than {limit_bytes} bytes of text in {path}")]
    TooLong {
        /// The element.
        path: String,
        /// The bound.
        limit_bytes: usize,
    },
    /// The document is another one.
    #[error("a document {found} instead of {expected}")]
    UnexpectedRoot {
        /// Name of the root element.
        found: String,
        /// The name that the operation expects.
        expected: &'static str,
    },
    /// An element that the operation cannot do without is not there.
    #[error("{path} has no {element}")]
    Missing {
        /// The element that should hold it.
        path: String,
        /// The one that is missing.
        element: &'static str,
    },
    /// An element that can be there once is there again: which of the two holds is anybody's guess.
    #[error("{path} is there twice")]
    Repeated {
        /// The element.
        path: String,
    },
    /// An element does not hold what it should.
    #[error("{path} holds {excerpt:?} instead of {expected}")]
    Invalid {
        /// The element.
        path: String,
        /// What should be there.
        expected: &'static str,
        /// Begin of what is there.
        excerpt: String,
    },
    /// The document is an error report of the service, in spite of a status that says success (S3 API reference, `CopyObject`).
    #[error("an error report in the body of a success: {0}")]
    ErrorDocument(Box<ErrorDocument>),
}

impl XmlError {
    /// Returns whether the next answer may well be free of it: what was cut or garbled on its way, or came from a proxy. A whole document
    /// that says something else than expected is how its server does things.
    pub fn may_pass(&self) -> bool {
        match self {
            XmlError::Empty
            | XmlError::HtmlPage
            | XmlError::NotXml { .. }
            | XmlError::Truncated { .. }
            | XmlError::TrailingContent { .. }
            | XmlError::NotUtf8 { .. }
            | XmlError::Broken { .. } => true,
            XmlError::Doctype { .. }
            | XmlError::Reference { .. }
            | XmlError::TooDeep { .. }
            | XmlError::TooLong { .. }
            | XmlError::UnexpectedRoot { .. }
            | XmlError::Missing { .. }
            | XmlError::Repeated { .. }
            | XmlError::Invalid { .. }
            | XmlError::ErrorDocument(_) => false,
        }
    }

    /// The error for an element that holds `text`.
    pub(crate) fn invalid(path: &str, expected: &'static str, text: &str) -> XmlError {
        XmlError::Invalid { path: path.to_owned(), expected, excerpt: excerpt(text) }
    }

    /// Returns the error report, if that is what the body was.
    pub fn error_document(&self) -> Option<&ErrorDocument> {
        match self {
            XmlError::ErrorDocument(document) => Some(document),
            _ => None,
        }
    }
}

/// Returns the begin of a text on one line: it ends up in logs and on terminals.
pub(super) fn excerpt(text: &str) -> String {
    clip(text, EXCERPT_BYTES_MAX).chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Returns as many whole characters as fit.
pub(super) fn clip(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt("a\r\nb\u{1b}[31m\u{85}"), "a  b [31m ");
        let long = excerpt(&"ä€".repeat(100));
        assert!(long.len() <= EXCERPT_BYTES_MAX && long.len() > EXCERPT_BYTES_MAX - 4, "{}", long.len());
        assert_eq!(excerpt(""), "");
    }
}
