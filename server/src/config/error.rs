//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    // The one error here of several lines: whoever edits the file wants all of them at once.
    /// Something in the file is wrong.
    #[error("the configuration {} is wrong{}", path.display(), Lines(problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub wrong: Wrong,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// The text is no TOML.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// There is no such section.
    #[error("unknown section [{section}]{}", DidYouMean(near.as_deref()))]
    UnknownSection {
        /// The name in the file.
        section: String,
        /// The section that was probably meant.
        near: Option<&'static str>,
    },
    /// The section is a plain value.
    #[error("{section} is a section; write [{section}] on a line of its own, and its options below")]
    NotASection {
        /// Its name.
        section: &'static str,
    },
    /// An option stands outside of every section.
    #[error("unknown key '{key}' before the first section{}", InSection(*section))]
    Outside {
        /// The name in the file.
        key: String,
        /// The section that has an option of this name.
        section: Option<&'static str>,
    },
    /// The section has no such option.
    #[error("unknown key '{key}' in [{section}]{}", DidYouMean(near.as_deref()))]
    UnknownKey {
        /// The section.
        section: &'static str,
        /// The name in the file.
        key: String,
        /// The option that was probably meant, with its section if that is another one.
        near: Option<String>,
    },
    /// Of two options that go together only one is set.
    #[error("[{section}] {set} is set, and {unset} is not; set both or neither")]
    Alone {
        /// The section.
        section: &'static str,
        /// The option that is set.
        set: &'static str,
        /// The one that is not.
        unset: &'static str,
    },
    /// The value is of the wrong kind, or out of range.
    #[error("[{section}] {key} must be {expected}, not {got}")]
    Value {
        /// The section.
        section: &'static str,
        /// The option.
        key: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

struct DidYouMean<'a>(Option<&'a str>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |near| write!(f, "; did you mean '{near}'?"))
    }
}

struct InSection(Option<&'static str>);

impl fmt::Display for InSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |section| write!(f, "; it belongs below [{section}]"))
    }
}
