//! Why a text is no valid name.

/// A text that is not the name it should be.
///
/// Quoted texts are cut to 64 characters, so that a message never carries a hostile request's megabytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has characters outside its grammar.
    #[error(
        "{what} {text:?} holds characters that are not allowed (letters, digits and _, then also . and -)"
    )]
    Characters {
        /// What the text should name.
        what: &'static str,
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The name is too short or too long.
    #[error("{what} has {length} bytes, allowed are {min} to {max}")]
    Length {
        /// What the text should name.
        what: &'static str,
        /// Length of the text in bytes.
        length: usize,
        /// Smallest allowed length.
        min: usize,
        /// Largest allowed length.
        max: usize,
    },
    /// The namespace has too many components.
    #[error("namespace has {depth} levels, allowed are {max}")]
    Depth {
        /// Number of components.
        depth: usize,
        /// Largest allowed number.
        max: usize,
    },
    /// The backup type is none of `vm`, `ct` and `host`.
    #[error("backup type {text:?} is none of vm, ct and host")]
    Type {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The backup time is outside 1970-01-01T00:00:01Z to 9999-12-31T23:59:59Z, or not written as one.
    #[error("backup time {text:?} is not an instant between 1970 and 9999, written as YYYY-MM-DDTHH:MM:SSZ")]
    Time {
        /// The text or number, cut to 64 characters.
        text: String,
    },
    /// The archive name has none of the known suffixes.
    #[error("archive name {text:?} does not end in .fidx, .didx or .blob")]
    Suffix {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The owner is not written as `user@realm` or `user@realm!token`.
    #[error("{text:?} is not written as user@realm or user@realm!token")]
    Owner {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The path has not as many parts as the name asks for.
    #[error("{text:?} is not written as {form}")]
    Form {
        /// The text, cut to 64 characters.
        text: String,
        /// The expected form.
        form: &'static str,
    },
}

/// Cuts a text for an error message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}
