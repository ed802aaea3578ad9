//! Configurations as text: the one in force, and the example with every option explained.

use std::fmt::Write as _;

use super::Config;
use super::options::{OPTIONS, SECTIONS};

/// Width of the comments in the example.
const COMMENT_CHARS: usize = 100;

/// Writes every option with its value; what is written can be read again.
pub fn effective(config: &Config) -> String {
    let mut text = String::new();
    for (section, _) in SECTIONS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
        for option in OPTIONS.iter().filter(|option| option.section == *section) {
            let _ = writeln!(text, "{} = {}", option.key, option.field.text(config));
        }
    }
    text
}

/// Writes the commented file: every option with what it means, what it may be, and its default, which is commented out.
pub fn example() -> String {
    let defaults = Config::default();
    let mut text = String::new();
    comment(
        &mut text,
        "Configuration of `coldkeep serve`. It is read from --config FILE, else from coldkeep.toml in the data folder. Every option \
         is shown with its default; remove the # before one to change it. Options of the command line go before this file. \
         `coldkeep config check` says what is wrong with it, `coldkeep config example` prints it as it is here. Changes take \
         effect with the next start.",
    );
    for (section, doc) in SECTIONS {
        text.push('\n');
        comment(&mut text, doc);
        let _ = writeln!(text, "[{section}]");
        for option in OPTIONS.iter().filter(|option| option.section == *section) {
            text.push('\n');
            comment(&mut text, option.doc);
            comment(&mut text, &format!("Must be {}.", option.field.expected()));
            let _ = writeln!(text, "#{} = {}", option.key, option.field.text(&defaults));
        }
    }
    text
}

/// Writes a paragraph of comment lines.
fn comment(text: &mut String, paragraph: &str) {
    let mut line = "#".to_owned();
    for word in paragraph.split_whitespace() {
        if line.len() + 1 + word.len() > COMMENT_CHARS {
            let _ = writeln!(text, "{line}");
            "#".clone_into(&mut line);
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(text, "{line}");
}
