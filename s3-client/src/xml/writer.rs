//! Writes the XML bodies of requests.

use std::fmt::Display;

use thiserror::Error;

/// Namespace of the S3 API; AWS takes requests without it, some servers do not (S3 API reference, request syntax of each operation).
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A character that XML 1.0 cannot express, not even by a reference (section 2.2): a control character other than tab, line feed and
/// carriage return, or U+FFFE or U+FFFF. A key with one cannot be deleted by `DeleteObjects`, but by `DeleteObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("XML cannot express the character {character:?}")]
pub(crate) struct NotInXml {
    /// The character.
    pub(crate) character: char,
}

/// Returns whether a text can stand in an XML document.
pub(crate) fn is_writable(text: &str) -> bool {
    forbidden_char(text).is_none()
}

/// Writes one document. Elements are closed by the closure that fills them, so that none stays open.
pub(crate) struct Writer {
    document: String,
}

impl Writer {
    /// Writes a document with this root element, in the namespace of the S3 API.
    ///
    /// # Errors
    /// [`NotInXml`] if a text holds a character that XML cannot express.
    pub(crate) fn document(
        root: &'static str,
        fill: impl FnOnce(&mut Writer) -> Result<(), NotInXml>,
    ) -> Result<String, NotInXml> {
        let mut writer = Writer { document: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") };
        writer.push(&["<", root, " xmlns=\"", NAMESPACE, "\">"]);
        fill(&mut writer)?;
        writer.push(&["</", root, ">"]);
        Ok(writer.document)
    }

    /// Writes an element that holds others.
    pub(crate) fn element(
        &mut self,
        name: &'static str,
        fill: impl FnOnce(&mut Writer) -> Result<(), NotInXml>,
    ) -> Result<(), NotInXml> {
        self.push(&["<", name, ">"]);
        fill(self)?;
        self.push(&["</", name, ">"]);
        Ok(())
    }

    /// Writes an element that holds a text.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) -> Result<(), NotInXml> {
        if let Some(character) = forbidden_char(text) {
            return Err(NotInXml { character });
        }
        self.push(&["<", name, ">"]);
        escape(&mut self.document, text);
        self.push(&["</", name, ">"]);
        Ok(())
    }

    /// Writes an element that holds a number or `true` or `false`.
    pub(crate) fn plain(&mut self, name: &'static str, value: impl Display) -> Result<(), NotInXml> {
        self.text(name, &value.to_string())
    }

    fn push(&mut self, parts: &[&str]) {
        self.document.extend(parts.iter().copied());
    }
}

fn forbidden_char(text: &str) -> Option<char> {
    let is_forbidden = |char: &char| matches!(char, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().find(is_forbidden)
}

fn escape(document: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => document.push_str("&amp;"),
            '<' => document.push_str("&lt;"),
            '>' => document.push_str("&gt;"),
            '"' => document.push_str("&quot;"),
            '\'' => document.push_str("&apos;"),
            // Raw, a carriage return would reach the server as a line feed (XML 1.0, section 2.11), and the others might not
            // survive a server's trimming; U+0085 and U+2028 are line ends to readers of XML 1.1.
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' | '\u{2028}' => {
                document.push_str("&#");
                document.push_str(&u32::from(char).to_string());
                document.push(';');
            }
            char => document.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Result<String, NotInXml> {
        let document = Writer::document("R", |writer| writer.element("A", |writer| writer.text("B", text)))?;
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><A><B>";
        let rest = document.strip_prefix(head).unwrap().strip_suffix("</B></A></R>");
        Ok(rest.unwrap().to_owned())
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(written("a<b>&'\"&amp;").unwrap(), "a&lt;b&gt;&amp;&apos;&quot;&amp;amp;");
        assert_eq!(written(" ü/\u{1f480} ").unwrap(), " ü/\u{1f480} ");
    }

    #[test]
    fn line_ends_and_tabs_are_written_as_references() {
        assert_eq!(written("\t\r\n\u{85}\u{2028}").unwrap(), "&#9;&#13;&#10;&#133;&#8232;");
    }

    #[test]
    fn what_xml_cannot_express_is_refused() {
        for char in ('\0'..='\u{1f}').chain(['\u{fffe}', '\u{ffff}']) {
            let is_allowed = matches!(char, '\t' | '\n' | '\r');
            assert_eq!(is_writable(&char.to_string()), is_allowed, "{char:?}");
            let expected = if is_allowed { None } else { Some(NotInXml { character: char }) };
            assert_eq!(written(&format!("a{char}")).err(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in any::<String>()) {
            let document = Writer::document("R", |writer| writer.text("B", &text));
            prop_assert_eq!(document.is_ok(), is_writable(&text));
            if let Ok(document) = document {
                let read = crate::xml::parse(document.as_bytes(), "R", |reader| {
                    assert_eq!(reader.next_child()?, Some("B"));
                    let read = reader.text()?.into_owned();
                    assert_eq!(reader.next_child()?, None);
                    Ok(read)
                });
                prop_assert_eq!(read, Ok(text));
            }
        }
    }
}
