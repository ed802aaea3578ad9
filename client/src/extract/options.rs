//! How an archive is restored into a directory.

use crate::pattern::{Pattern, PatternVerdict, judge};

/// What is restored, and what may be overwritten (spec `client.md` §6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, as on the command line")]
pub struct ExtractOptions {
    /// What is restored: what a pattern matches, and all that is below a directory that one matches. Without any, everything.
    pub patterns: Vec<Pattern>,
    /// Restores into directories that are there already.
    pub allow_existing_dirs: bool,
    /// Empties files that are there already, and fills them anew.
    pub overwrite_files: bool,
    /// Replaces symbolic links that are there already.
    pub overwrite_symlinks: bool,
    /// Replaces files that are there already by hard links.
    pub overwrite_hard_links: bool,
    /// Leaves owners and groups as they come.
    pub ignore_ownership: bool,
    /// Leaves permissions as they come.
    pub ignore_permissions: bool,
    /// Restores no access lists.
    pub ignore_acls: bool,
    /// Restores no extended attributes and file capabilities.
    pub ignore_xattrs: bool,
    /// Goes on where a device cannot be made.
    pub ignore_device_errors: bool,
}

impl ExtractOptions {
    /// Lets everything be overwritten that can be.
    #[must_use]
    pub fn overwriting(self) -> Self {
        Self { overwrite_files: true, overwrite_symlinks: true, overwrite_hard_links: true, ..self }
    }

    /// Tells whether an entry is wanted, which is in a directory that is or is not.
    pub(super) fn wants(&self, path: &[u8], is_directory: bool, is_parent_wanted: bool) -> bool {
        if self.patterns.is_empty() {
            return true;
        }
        match judge(&self.patterns, path, is_directory) {
            Some(PatternVerdict::Match) => true,
            Some(PatternVerdict::Inverse) => false,
            None => is_parent_wanted,
        }
    }
}

/// How much was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// Regular files, hard links to them not counted.
    pub files: u64,
    /// Directories, with the root.
    pub folders: u64,
    /// Links, devices, pipes, sockets.
    pub others: u64,
    /// Bytes of the files' contents.
    pub bytes: u64,
    /// Devices that could not be made, where that is ignored.
    pub skipped_devices: u64,
}
