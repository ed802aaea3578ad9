//! Writing XML, and reading the two documents that clients send.
//!
//! The reader looks for elements by name and knows no attributes: enough for `Delete` and `CompleteMultipartUpload`.

use std::fmt::Write;

/// Escapes text, control characters included: XML 1.0 forbids most of them even so, which is what `encoding-type=url` is for.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if (control as u32) < 0x20 => {
                let _ = write!(escaped, "&#x{:x};", control as u32);
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Undoes [`escape`]; `None` where an entity is unknown.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        let end = at + rest[at..].find(';')?;
        plain.push(match &rest[at + 1..end] {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => char::from_u32(match number.strip_prefix("#x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.strip_prefix('#')?.parse().ok()?,
            })?,
        });
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    Some(plain)
}

/// The raw insides of every `<name>…</name>`, in order.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        let inside = &rest[start + open.len()..];
        let Some(end) = inside.find(&close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// The text of the first `<name>…</name>`.
pub(crate) fn text(xml: &str, name: &str) -> Option<String> {
    unescape(elements(xml, name).first()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_escaping() {
        let key = "a<b>&\"c'\u{1}\u{7f}ü";
        assert_eq!(unescape(&escape(key)).as_deref(), Some(key));
        assert_eq!(unescape("&#13;&#x41;"), Some("\rA".to_owned()));
        assert_eq!(unescape("&bomb;"), None);
    }

    #[test]
    fn elements_are_found_in_order() {
        let xml = "<D><Object><Key>a&amp;b</Key></Object><Object><Key>c</Key></Object></D>";
        let keys: Vec<_> =
            elements(xml, "Object").into_iter().filter_map(|object| text(object, "Key")).collect();
        assert_eq!(keys, ["a&b", "c"]);
    }
}
