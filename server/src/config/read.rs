//! From the text of a file to a configuration, with everything that is wrong on the way.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::error::{Problem, Wrong};
use super::field::shown;
use super::options::{OPTIONS, Opt, sections};

/// How alike two names must be for the one to be suggested for the other.
const ALIKE_MIN: f64 = 0.75;
/// Longest name that is compared and shown, in characters.
const NAME_CHARS_MAX: usize = 80;

/// Reads a file. What is wrong is left at its default.
pub(super) fn read(text: &str, folder: &Path) -> (Config, Vec<Problem>) {
    let mut reading = Reading { text, folder, config: Config::default(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => {
            reading.top(table.get_ref());
            reading.check_certificate(table.get_ref());
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reading
                .note(at, Wrong::Syntax { message: error.message().lines().collect::<Vec<_>>().join(" ") });
        }
    }
    let Reading { config, mut problems, .. } = reading;
    problems.sort_by_key(|problem| problem.line);
    (config, problems)
}

struct Reading<'a> {
    text: &'a str,
    folder: &'a Path,
    config: Config,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn top(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let (at, name) = (name.span().start, name.get_ref().as_ref());
            let section = sections().find(|section| *section == name);
            match (section, value.get_ref()) {
                (Some(section), DeValue::Table(options)) => self.section(section, options),
                (Some(section), _) => self.note(at, Wrong::NotASection { section }),
                (None, DeValue::Table(_)) => {
                    let near = nearest(name, sections());
                    self.note(at, Wrong::UnknownSection { section: cut(name), near });
                }
                (None, _) => {
                    let section =
                        OPTIONS.iter().find(|option| option.key == name).map(|option| option.section);
                    self.note(at, Wrong::Outside { key: cut(name), section });
                }
            }
        }
    }

    fn section(&mut self, section: &'static str, options: &DeTable<'_>) {
        for (key, value) in options {
            let (at, key) = (key.span().start, key.get_ref().as_ref());
            let known = OPTIONS.iter().find(|option| option.section == section && option.key == key);
            if let Some(option) = known {
                self.option(option, value);
                continue;
            }
            let near = suggestion(section, key);
            self.note(at, Wrong::UnknownKey { section, key: cut(key), near });
        }
    }

    fn option(&mut self, option: &'static Opt, value: &Spanned<DeValue<'_>>) {
        if option.field.set(&mut self.config, value.get_ref(), self.folder).is_err() {
            let (expected, got) = (option.field.expected(), shown(value.get_ref()));
            let wrong = Wrong::Value { section: option.section, key: option.key, expected, got };
            self.note(value.span().start, wrong);
        }
    }

    /// A certificate without a key, or a key without a certificate, is a mistake.
    fn check_certificate(&mut self, table: &DeTable<'_>) {
        let server = &self.config.server;
        let (set, unset) = match (&server.certificate, &server.key) {
            (Some(_), None) => ("certificate", "key"),
            (None, Some(_)) => ("key", "certificate"),
            _ => return,
        };
        let section = table.get("server").and_then(|section| section.get_ref().as_table());
        let at = section.and_then(|section| section.get(set)).map_or(0, |value| value.span().start);
        self.note(at, Wrong::Alone { section: "server", set, unset });
    }

    fn note(&mut self, at: usize, wrong: Wrong) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        self.problems.push(Problem { line, wrong });
    }
}

/// Returns the option that was probably meant: of this section, or the same name in another one.
fn suggestion(section: &'static str, key: &str) -> Option<String> {
    let of_section = OPTIONS.iter().filter(|option| option.section == section).map(|option| option.key);
    if let Some(near) = nearest(key, of_section) {
        return Some(near.to_owned());
    }
    let elsewhere = OPTIONS.iter().find(|option| option.key == key)?;
    Some(format!("[{}] {}", elsewhere.section, elsewhere.key))
}

fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let name = cut(name).to_lowercase().replace('_', "-");
    let rated = known.map(|known| (strsim::normalized_damerau_levenshtein(&name, known), known));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    // Short names differ by much of themselves at once; a name that begins like the other is meant, too.
    best.filter(|(alike, known)| *alike >= ALIKE_MIN || known.starts_with(&*name) && name.len() > 2)
        .map(|(_, known)| known)
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}
