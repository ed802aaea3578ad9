//! A pull reader that knows of elements and texts only.

use std::borrow::Cow;

use quick_xml::errors::{Error as SyntaxError, IllFormedError};
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event as RawEvent};

use super::error::{clip, excerpt};
use super::{ErrorDocument, XmlError};

/// Deepest nesting read. The deepest element of any S3 answer that is parsed here lies on level 6 (a tag of a lifecycle filter).
const DEPTH_MAX: usize = 16;
/// Longest element name with its prefix, in bytes. The longest name of the S3 API has about 40.
const NAME_BYTES_MAX: usize = 128;
/// Longest text of an element that is kept, in bytes: a key of 1024 bytes, percent-encoded, is 3072; tokens may hold an encoded key.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a path in an error.
const PATH_BYTES_MAX: usize = 192;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a whole document whose root element is named `root`; `read` takes the children of the root.
///
/// # Errors
/// - [`XmlError::ErrorDocument`]: the service reports an error, whatever the status said.
/// - [`XmlError::HtmlPage`], [`XmlError::Empty`], [`XmlError::NotXml`]: somebody else answered.
/// - the others: the document is broken, hostile or another one.
pub(crate) fn parse<'a, T>(
    body: &'a [u8],
    root: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, XmlError>,
) -> Result<T, XmlError> {
    parse_either(body, [root, root], read)
}

/// Reads a document as [`parse`] does, whose root some servers name otherwise; the first name is the right one.
pub(crate) fn parse_either<'a, T>(
    body: &'a [u8],
    roots: [&'static str; 2],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, XmlError>,
) -> Result<T, XmlError> {
    let mut reader = Reader::open(body)?;
    if !roots.contains(&reader.name()) {
        if ErrorDocument::is_root(reader.name()) {
            return Err(XmlError::ErrorDocument(Box::new(ErrorDocument::read(&mut reader)?)));
        }
        return Err(XmlError::UnexpectedRoot { found: excerpt(reader.name()), expected: roots[0] });
    }
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Reads a document from its root down. Whoever is told of a child by [`Reader::next_child`] reads it to its end, by
/// [`Reader::text`], [`Reader::skip`] or its own loop over `next_child`.
pub(crate) struct Reader<'a> {
    events: quick_xml::Reader<&'a [u8]>,
    /// Local names of the open elements, each with a `/` before it. Beyond `path_len` stands the element that was closed last, so that
    /// an error about its text can still name it.
    path: String,
    path_len: usize,
    depth: usize,
}

enum Event<'a> {
    Start,
    End,
    Text(Cow<'a, str>),
    Char(char),
    Eof,
}

impl<'a> Reader<'a> {
    /// Reads up to the root element and enters it.
    pub(super) fn open(body: &'a [u8]) -> Result<Reader<'a>, XmlError> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let text = check_bytes(body)?;
        let mut events = quick_xml::Reader::from_reader(body);
        events.config_mut().expand_empty_elements = true;
        let mut reader = Reader { events, path: String::new(), path_len: 0, depth: 0 };
        reader.read_prolog(text)?;
        if reader.name().eq_ignore_ascii_case("html") {
            return Err(XmlError::HtmlPage);
        }
        Ok(reader)
    }

    /// Returns the local name of the innermost open element.
    pub(super) fn name(&self) -> &str {
        let path = &self.path[..self.path_len];
        path.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Enters the next child of the current element and returns its local name; without one, leaves the element.
    pub(crate) fn next_child(&mut self) -> Result<Option<&str>, XmlError> {
        loop {
            match self.next()? {
                Event::Start => return Ok(Some(self.name())),
                Event::End => return Ok(None),
                Event::Text(text) if is_blank(&text) => {}
                Event::Text(_) | Event::Char(_) => return Err(self.broken("text between elements")),
                Event::Eof => return Err(self.truncated()),
            }
        }
    }

    /// Returns the text of the current element and leaves it. White space counts: it can be part of a key. Line ends are not
    /// normalised (XML 1.0, section 2.11, would make a raw carriage return of a key a line feed, and so another key).
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, XmlError> {
        let mut text = Cow::Borrowed("");
        loop {
            match self.next()? {
                Event::Text(part) if text.is_empty() => text = part,
                Event::Text(part) => text.to_mut().push_str(&part),
                Event::Char(char) => text.to_mut().push(char),
                Event::End => return Ok(text),
                Event::Start => return Err(self.broken("an element within a text")),
                Event::Eof => return Err(self.truncated()),
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(XmlError::TooLong { path: self.path(), limit_bytes: TEXT_BYTES_MAX });
            }
        }
    }

    /// Leaves the current element with all that is in it.
    pub(crate) fn skip(&mut self) -> Result<(), XmlError> {
        let depth = self.depth;
        loop {
            match self.next()? {
                Event::End if self.depth < depth => return Ok(()),
                Event::Eof => return Err(self.truncated()),
                Event::Start | Event::End | Event::Text(_) | Event::Char(_) => {}
            }
        }
    }

    /// Puts what the element that was read last held into its place, which must still be empty.
    pub(crate) fn set<T>(&self, place: &mut Option<T>, value: T) -> Result<(), XmlError> {
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(XmlError::Repeated { path: self.path_of_last() }),
        }
    }

    /// The error for an element that the current one, just left, lacks.
    pub(crate) fn missing(&self, element: &'static str) -> XmlError {
        XmlError::Missing { path: self.path_of_last(), element }
    }

    /// The error for what the element that was read last holds.
    pub(crate) fn invalid(&self, expected: &'static str, text: &str) -> XmlError {
        XmlError::invalid(&self.path_of_last(), expected, text)
    }

    fn finish(&mut self) -> Result<(), XmlError> {
        debug_assert_eq!(self.depth, 0, "a parser left its root early or late");
        loop {
            let at = self.events.buffer_position();
            match self.next() {
                Ok(Event::Eof) => return Ok(()),
                Ok(Event::Text(text)) if is_blank(&text) => {}
                Ok(_) | Err(_) => return Err(XmlError::TrailingContent { at }),
            }
        }
    }

    fn read_prolog(&mut self, text: &str) -> Result<(), XmlError> {
        let not_xml = || XmlError::NotXml { excerpt: excerpt(text.trim_ascii()) };
        loop {
            let at = self.events.buffer_position();
            match self.events.read_event() {
                Ok(RawEvent::Start(start)) => return self.enter(&start),
                // White space may come before the declaration: servers send it while a long operation runs.
                Ok(RawEvent::Decl(declaration)) => check_encoding(&declaration, at)?,
                Ok(RawEvent::Text(text)) if is_blank(&text) => {}
                Ok(RawEvent::Comment(_) | RawEvent::PI(_)) => {}
                Ok(RawEvent::DocType(doctype)) => {
                    let is_html = doctype.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("html"));
                    return Err(if is_html { XmlError::HtmlPage } else { XmlError::Doctype { at } });
                }
                // A page of any other kind; or a begin of XML and no more.
                Ok(RawEvent::Eof) => return Err(XmlError::Truncated { path: String::from("the prolog") }),
                Ok(_) => return Err(not_xml()),
                Err(error) => return Err(self.flaw(&error)),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, XmlError> {
        loop {
            let at = self.events.buffer_position();
            match self.events.read_event() {
                Ok(RawEvent::Start(start)) => {
                    self.enter(&start)?;
                    return Ok(Event::Start);
                }
                Ok(RawEvent::End(_)) => {
                    self.leave();
                    return Ok(Event::End);
                }
                Ok(RawEvent::Text(text)) => return Ok(Event::Text(text.into_inner())),
                Ok(RawEvent::CData(text)) => return Ok(Event::Text(text.into_inner())),
                Ok(RawEvent::GeneralRef(reference)) => {
                    return resolve(&reference).map(Event::Char).ok_or(XmlError::Reference { at });
                }
                Ok(RawEvent::Comment(_) | RawEvent::PI(_)) => {}
                Ok(RawEvent::Eof) => return Ok(Event::Eof),
                Ok(RawEvent::DocType(_)) => return Err(XmlError::Doctype { at }),
                Ok(RawEvent::Decl(_) | RawEvent::Empty(_)) => {
                    return Err(self.broken("a declaration within the document"));
                }
                Err(error) => return Err(self.flaw(&error)),
            }
        }
    }

    fn enter(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        let name =
            local_name(start.name().0).ok_or_else(|| self.broken("a name with forbidden characters"))?;
        // XML forbids it even in quotes. Where it stands, a tag was not closed and the next one is swallowed.
        if start.attributes_raw().contains('<') {
            return Err(self.broken("a tag within a tag"));
        }
        if self.depth == DEPTH_MAX {
            return Err(XmlError::TooDeep { at: self.events.buffer_position() });
        }
        self.path.truncate(self.path_len);
        self.path.push('/');
        self.path.push_str(name);
        self.path_len = self.path.len();
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.path.truncate(self.path_len);
        self.path_len = self.path.rfind('/').unwrap_or(0);
        self.depth -= 1;
    }

    fn path(&self) -> String {
        clip(self.path[..self.path_len].trim_start_matches('/'), PATH_BYTES_MAX).to_owned()
    }

    fn path_of_last(&self) -> String {
        clip(self.path.trim_start_matches('/'), PATH_BYTES_MAX).to_owned()
    }

    fn truncated(&self) -> XmlError {
        XmlError::Truncated { path: self.path() }
    }

    fn broken(&self, flaw: &'static str) -> XmlError {
        XmlError::Broken { flaw, at: self.events.buffer_position() }
    }

    fn flaw(&self, error: &SyntaxError) -> XmlError {
        let at = self.events.error_position();
        let flaw = match error {
            // All of these say that the input ended where something was still open.
            SyntaxError::Syntax(_) => return self.truncated(),
            SyntaxError::Encoding(_) => return XmlError::NotUtf8 { at: self.events.buffer_position() },
            SyntaxError::IllFormed(IllFormedError::UnclosedReference) => return XmlError::Reference { at },
            SyntaxError::IllFormed(IllFormedError::MissingDoctypeName) => return XmlError::Doctype { at },
            SyntaxError::IllFormed(
                IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_),
            ) => "an end tag without its start tag",
            _ => "it is not well-formed",
        };
        XmlError::Broken { flaw, at }
    }
}

/// Checks what can be said of the bytes as a whole.
fn check_bytes(body: &[u8]) -> Result<&str, XmlError> {
    let text = str::from_utf8(body).map_err(|error| match error.error_len() {
        Some(_) => XmlError::NotUtf8 { at: error.valid_up_to() as u64 },
        None => XmlError::Truncated { path: String::from("a character") },
    })?;
    // XML has no way to write this character, and a run of it is what a torn file looks like.
    if let Some(at) = text.find('\0') {
        return Err(XmlError::Broken { flaw: "a NUL character", at: at as u64 });
    }
    if is_blank(text) { Err(XmlError::Empty) } else { Ok(text) }
}

fn check_encoding(declaration: &BytesDecl<'_>, at: u64) -> Result<(), XmlError> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name))
            if ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known)) =>
        {
            Ok(())
        }
        Some(_) => Err(XmlError::Broken { flaw: "an encoding other than UTF-8", at }),
    }
}

/// Returns a name without its prefix, if it is one.
fn local_name(name: &str) -> Option<&str> {
    let is_name_char = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_' | '.' | ':');
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    let is_name = !local.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_name_char);
    is_name.then_some(local)
}

/// Resolves a reference to a character. Beyond XML 1.0, control characters are taken: S3 writes those of a key this way.
fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    let name: &str = reference;
    let Some(number) = name.strip_prefix('#') else {
        return match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => None,
        };
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
    // `from_str_radix` would also take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok().filter(|code| *code != 0)?;
    char::from_u32(code)
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests;
