//! Patterns of paths, which leave files out of a backup or choose what is restored (spec `client.md` §4).

use std::fmt;

/// Longest pattern that is taken.
const PATTERN_BYTES_MAX: usize = 4096;

/// A pattern of paths.
///
/// Like the patterns of a shell: `?` and `*` stand for bytes other than `/`, `**` between slashes for anything, `[a-z]` for one byte of
/// a list. A pattern that begins with `/` matches from the root of the archive, any other at any depth; one that ends with `/` matches
/// directories only; one that begins with `!` takes its paths in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Vec<u8>,
    tokens: Vec<Token>,
    is_inclusion: bool,
    is_for_directories: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**` at the end: anything.
    Anything,
    /// `**/`: nothing, or what follows it here.
    AnyFolders,
    /// Anything up to a slash.
    UpToSlash,
    Class(Class),
}

/// One byte of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class([u64; 4]);

/// A pattern has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// There is nothing in it.
    #[error("the pattern {pattern:?} is empty")]
    Empty {
        /// The pattern.
        pattern: String,
    },
    /// It is very long.
    #[error("a pattern has {len} bytes, more than {PATTERN_BYTES_MAX}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It ends behind a backslash, which should make something literal.
    #[error("the pattern {pattern:?} ends with a backslash; write two of them for a backslash")]
    TrailingBackslash {
        /// The pattern.
        pattern: String,
    },
    /// A list of bytes has no end.
    #[error("the pattern {pattern:?} has a '[' without a ']'; write '\\[' for the character")]
    UnclosedClass {
        /// The pattern.
        pattern: String,
    },
    /// A class of characters is unknown.
    #[error("the pattern {pattern:?} has an unknown class of characters [:{name}:]")]
    UnknownClass {
        /// The pattern.
        pattern: String,
        /// The class.
        name: String,
    },
    /// There is a zero byte in it.
    #[error("the pattern {pattern:?} has a zero byte, which no path has")]
    Zero {
        /// The pattern.
        pattern: String,
    },
}

/// What a list of patterns says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternVerdict {
    /// The last pattern that matches takes it out, or chooses it.
    Match,
    /// The last pattern that matches begins with `!`.
    Inverse,
}

impl Pattern {
    /// Reads a pattern, whose bytes need not be text.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self, PatternError> {
        Self::below(b"", text.as_ref())
    }

    /// Reads a line of a file with patterns, which is in the folder `folder` of the archive (empty, or `/a/b`); `None` if the line says
    /// nothing. A pattern that begins with `/` matches from that folder.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn from_line(folder: &[u8], line: &[u8]) -> Result<Option<Self>, PatternError> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        let is_anchored = line.strip_prefix(b"!").unwrap_or(line).starts_with(b"/");
        Self::below(if is_anchored { folder } else { b"" }, line).map(Some)
    }

    fn below(folder: &[u8], text: &[u8]) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { len: text.len() });
        }
        let shown = || String::from_utf8_lossy(text).into_owned();
        let (is_inclusion, rest) = match text.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut body = rest;
        while let Some(shorter) = body.strip_suffix(b"/") {
            // A slash that a backslash makes literal is one all the same.
            body = shorter;
        }
        if body.is_empty() {
            return Err(PatternError::Empty { pattern: shown() });
        }
        if body.contains(&0) {
            return Err(PatternError::Zero { pattern: shown() });
        }
        let mut tokens: Vec<_> = folder.iter().map(|byte| Token::Byte(*byte)).collect();
        Parser { text, body, at: 0 }.parse(&mut tokens)?;
        Ok(Self { text: text.to_vec(), tokens, is_inclusion, is_for_directories: body.len() < rest.len() })
    }

    /// Returns the pattern as it was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Tells whether it begins with `!`.
    pub const fn is_inclusion(&self) -> bool {
        self.is_inclusion
    }

    /// Tells whether the pattern matches a path from the root of the archive, such as `/a/b`.
    pub fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.is_for_directories && !is_directory {
            return false;
        }
        // All ways through the tokens at once, so that no pattern takes longer than path times tokens.
        let end = self.tokens.len();
        let (mut now, mut next) = (vec![false; end + 1], vec![false; end + 1]);
        let mut is_start = true;
        for byte in path {
            if is_start {
                now[0] = true;
            }
            self.skip_empty(&mut now);
            next.fill(false);
            for (at, token) in self.tokens.iter().enumerate() {
                if !now[at] {
                    continue;
                }
                match token {
                    Token::Byte(expected) => next[at + 1] |= expected == byte,
                    Token::One => next[at + 1] |= *byte != b'/',
                    Token::Class(class) => next[at + 1] |= class.contains(*byte),
                    Token::Star => next[at] |= *byte != b'/',
                    Token::Anything => next[at] = true,
                    Token::AnyFolders => {}
                    Token::UpToSlash => {
                        next[at] = true;
                        next[at + 1] |= *byte == b'/';
                    }
                }
            }
            std::mem::swap(&mut now, &mut next);
            is_start = *byte == b'/';
        }
        if path.is_empty() {
            now[0] = true;
        }
        self.skip_empty(&mut now);
        now[end]
    }

    /// Goes over tokens that may stand for nothing.
    fn skip_empty(&self, states: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Star | Token::Anything if states[at] => states[at + 1] = true,
                Token::AnyFolders if states[at] => {
                    states[at + 1] = true;
                    states[at + 2] = true;
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.text).fmt(f)
    }
}

/// Says what the patterns of a list say of a path: the last one that matches decides.
pub fn judge(patterns: &[Pattern], path: &[u8], is_directory: bool) -> Option<PatternVerdict> {
    let last = patterns.iter().rev().find(|pattern| pattern.matches(path, is_directory))?;
    Some(if last.is_inclusion { PatternVerdict::Inverse } else { PatternVerdict::Match })
}

impl Class {
    const NONE: Self = Self([0; 4]);

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte / 64)] |= 1 << (byte % 64);
    }

    fn add_named(&mut self, name: &[u8]) -> bool {
        let is_in: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"blank" => |byte| matches!(byte, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |byte| (0x20..0x7f).contains(byte),
            b"punct" => u8::is_ascii_punctuation,
            // With the vertical tab, which `is_ascii_whitespace` leaves out.
            b"space" => |byte| matches!(byte, b' ' | 9..=13),
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return false,
        };
        (0..=u8::MAX).filter(is_in).for_each(|byte| self.add(byte));
        true
    }
}

/// Reads the tokens of a pattern.
struct Parser<'a> {
    text: &'a [u8],
    body: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn parse(mut self, tokens: &mut Vec<Token>) -> Result<(), PatternError> {
        while let Some(byte) = self.next() {
            let token = match byte {
                b'?' => Token::One,
                b'*' => self.stars(),
                b'[' => Token::Class(self.class()?),
                b'\\' => Token::Byte(self.escaped()?),
                byte => Token::Byte(byte),
            };
            let is_folders = token == Token::AnyFolders;
            tokens.push(token);
            if is_folders {
                tokens.push(Token::UpToSlash);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.body.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }

    fn stars(&mut self) -> Token {
        let start = self.at - 1;
        while self.peek() == Some(b'*') {
            self.at += 1;
        }
        let is_component = start == 0 || self.body[start - 1] == b'/';
        if self.at - start < 2 || !is_component {
            return Token::Star;
        }
        match self.peek() {
            None => Token::Anything,
            Some(b'/') => {
                self.at += 1;
                Token::AnyFolders
            }
            Some(_) => Token::Star,
        }
    }

    fn escaped(&mut self) -> Result<u8, PatternError> {
        self.next().ok_or_else(|| PatternError::TrailingBackslash { pattern: self.shown() })
    }

    fn class(&mut self) -> Result<Class, PatternError> {
        let mut class = Class::NONE;
        let is_negated = self.peek() == Some(b'^');
        self.at += usize::from(is_negated);
        loop {
            let first = match self.next() {
                None => return Err(PatternError::UnclosedClass { pattern: self.shown() }),
                Some(b']') => break,
                Some(b'[') if self.peek() == Some(b':') => {
                    self.named_class(&mut class)?;
                    continue;
                }
                Some(b'\\') => self.escaped()?,
                Some(byte) => byte,
            };
            let is_range =
                self.peek() == Some(b'-') && !matches!(self.body.get(self.at + 1), None | Some(b']'));
            let last = if is_range {
                self.at += 1;
                match self.next() {
                    Some(b'\\') => self.escaped()?,
                    last => last.unwrap_or(first),
                }
            } else {
                first
            };
            (first.min(last)..=first.max(last)).for_each(|byte| class.add(byte));
        }
        Ok(if is_negated { Class(class.0.map(|bits| !bits)) } else { class })
    }

    fn named_class(&mut self, class: &mut Class) -> Result<(), PatternError> {
        let rest = &self.body[self.at + 1..];
        let end = rest.windows(2).position(|two| two == b":]");
        let end = end.ok_or_else(|| PatternError::UnclosedClass { pattern: self.shown() })?;
        let name = &rest[..end];
        if !class.add_named(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(PatternError::UnknownClass { pattern: self.shown(), name });
        }
        self.at += end + 3;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree of the examples, directories with a slash at their ends (spec §4).
    const TREE: [&str; 19] = [
        "/a/",
        "/a/b/",
        "/a/b/c/",
        "/a/b/c/f.txt",
        "/a/b/f.txt",
        "/f.txt",
        "/x/",
        "/x/a/",
        "/x/a/b/",
        "/x/a/b/f.txt",
        "/foo",
        "/foo.d/",
        "/foo.d/y",
        "/sp/",
        "/sp/[z]",
        "/sp/z",
        "/sp/Z1",
        "/lnk",
        "/.hid",
    ];

    /// Walks over the tree; returns what was left out, without what is below that.
    fn excluded(patterns: &[&str]) -> Vec<&'static str> {
        let patterns: Vec<_> = patterns.iter().map(|text| Pattern::new(text).unwrap()).collect();
        let mut out: Vec<&str> = Vec::new();
        for entry in TREE {
            if out.iter().any(|folder| folder.ends_with('/') && entry.starts_with(folder)) {
                continue;
            }
            let (path, is_directory) = entry.strip_suffix('/').map_or((entry, false), |path| (path, true));
            if judge(&patterns, path.as_bytes(), is_directory) == Some(PatternVerdict::Match) {
                out.push(entry);
            }
        }
        out
    }

    #[test]
    fn the_examples_of_the_specification_hold() {
        let all_texts = ["/a/b/c/f.txt", "/a/b/f.txt", "/f.txt", "/x/a/b/f.txt"];
        let top = ["/a/", "/f.txt", "/x/", "/foo", "/foo.d/", "/sp/", "/lnk", "/.hid"];
        for (patterns, expected) in [
            (&["f.txt"][..], &all_texts[..]),
            (&["/f.txt"], &["/f.txt"]),
            (&["b/*.txt"], &["/a/b/f.txt", "/x/a/b/f.txt"]),
            (&["/a/**"], &["/a/b/"]),
            (&["/a/**/f.txt"], &["/a/b/c/f.txt", "/a/b/f.txt"]),
            (&["/a/*/f.txt"], &["/a/b/f.txt"]),
            (&["**/c"], &["/a/b/c/"]),
            (&["a/b/"], &["/a/b/", "/x/a/b/"]),
            (&["foo/"], &[]),
            (&["lnk/"], &[]),
            (&["fo**"], &["/foo", "/foo.d/"]),
            (&["[^f]*"], &top),
            (&["a[^x]b"], &["/a/b/", "/x/a/b/"]),
            (&["sp/\\[z\\]"], &["/sp/[z]"]),
            (&["sp/[z]"], &["/sp/z"]),
            (&["sp/[[:upper:]]*"], &["/sp/Z1"]),
            (&["*.txt", "!/a/b/f.txt"], &["/a/b/c/f.txt", "/f.txt", "/x/a/b/f.txt"]),
            (&["!f.txt", "*.txt"], &all_texts),
            (&["/a", "!/a/b/f.txt"], &["/a/"]),
            (&["/*", "!/x"], &["/a/", "/f.txt", "/foo", "/foo.d/", "/sp/", "/lnk", "/.hid"]),
        ] {
            assert_eq!(excluded(patterns), expected, "{patterns:?}");
        }
    }

    #[test]
    fn single_elements_match_what_they_say() {
        for (pattern, path, expected) in [
            ("a/**/b", "/a/b", true),
            ("a/**/b", "/a/x/y/b", true),
            ("a/**/b", "/ab", false),
            ("a/**/b", "/a/xb", false),
            ("**", "/a", true),
            ("***", "/a/b", true),
            ("a***", "/ab", true),
            ("a***c", "/a/c", false),
            ("a?c", "/a/c", false),
            ("a?c", "/abc", true),
            ("[z-a]", "/m", true),
            ("[a-]", "/-", true),
            ("[-a]", "/-", true),
            ("[]", "/]", false),
            ("[]a]", "/]", false),
            ("[^]", "/a", true),
            ("[!a]", "/a", true),
            ("[!a]", "/b", false),
            ("[\\]]", "/]", true),
            ("[a\\-z]", "/m", false),
            ("[[:digit:]a-c]x", "/bx", true),
            ("[[:space:]]", "/\x0b", true),
            ("\\*", "/*", true),
            ("\\*", "/a", false),
            ("A", "/a", false),
            ("a//b", "/a/b", false),
        ] {
            assert_eq!(
                Pattern::new(pattern).unwrap().matches(path.as_bytes(), false),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn lines_of_a_file_count_from_its_folder() {
        let line = |text: &str| Pattern::from_line(b"/su[b", text.as_bytes()).unwrap();
        for nothing in ["", "  \t", "# a", "  # a"] {
            assert_eq!(line(nothing), None);
        }
        let anchored = line("  /cache/ \r\n").unwrap();
        assert!(anchored.matches(b"/su[b/cache", true) && !anchored.matches(b"/su[b/cache", false));
        assert!(!anchored.matches(b"/cache", true) && !anchored.matches(b"/su[b/x/cache", true));
        let back = line("!/a").unwrap();
        assert!(back.is_inclusion() && back.matches(b"/su[b/a", false));
        assert!(line("*.o").unwrap().matches(b"/elsewhere/b.o", false));
    }

    #[test]
    fn patterns_without_a_meaning_are_errors() {
        let error = |text: &str| Pattern::new(text).unwrap_err();
        for empty in ["", "!", "/", "!//"] {
            assert!(matches!(error(empty), PatternError::Empty { .. }), "{empty}");
        }
        for unclosed in ["[", "a[b", "[^", "[[:alpha:]", "[[:alpha", "[a-"] {
            assert!(matches!(error(unclosed), PatternError::UnclosedClass { .. }), "{unclosed}");
        }
        assert!(matches!(error("[[:letter:]]"), PatternError::UnknownClass { name, .. } if name == "letter"));
        assert!(matches!(error("a\\"), PatternError::TrailingBackslash { .. }));
        assert!(matches!(error("[\\"), PatternError::TrailingBackslash { .. }));
        assert!(matches!(error("a\0"), PatternError::Zero { .. }));
        assert!(matches!(error(&"a".repeat(4097)), PatternError::TooLong { len: 4097 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_pattern_or_an_error(text in proptest::collection::vec(any::<u8>(), 0..40), path: Vec<u8>) {
            if let Ok(pattern) = Pattern::new(&text) {
                pattern.matches(&path, true);
            }
        }

        #[test]
        fn an_escaped_path_matches_itself_alone(path in "(/[a-z*?\\[\\]!\\\\]{1,4}){1,3}", other in "(/[a-z*?]{1,3}){1,3}") {
            let escaped: String = path.chars().flat_map(|c| if c == '/' { vec![c] } else { vec!['\\', c] }).collect();
            let pattern = Pattern::new(escaped).unwrap();
            prop_assert!(pattern.matches(path.as_bytes(), false));
            prop_assert_eq!(pattern.matches(other.as_bytes(), false), path == other);
        }
    }
}
