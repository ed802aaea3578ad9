//! What happened, line by line.

use std::fmt::Write as _;

/// The lines of one history. Only a history that is to be told pays for them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Option<Vec<String>>,
}

impl Log {
    pub(crate) fn recording() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(line());
        }
    }

    /// Returns the lines, numbered.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for (number, line) in self.lines.iter().flatten().enumerate() {
            let _ = writeln!(story, "{number:>5}  {line}");
        }
        story
    }
}
