//! Other backup tools, on the same data. Both encrypt by default; `borg` is told not to, `restic` cannot be.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::data::Data;

/// A tool and how its commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Restic,
    Borg,
}

impl Peer {
    /// Finds a peer by the name of its program.
    pub(crate) fn named(name: &str) -> Result<Peer> {
        match name {
            "restic" => Ok(Peer::Restic),
            "borg" => Ok(Peer::Borg),
            other => bail!("there is no peer {other}"),
        }
    }

    /// The program, which is also the name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Restic => "restic",
            Peer::Borg => "borg",
        }
    }

    /// Creates an empty repository.
    pub(crate) fn init(self, folder: &Path) -> Command {
        let mut command = self.command(folder);
        match self {
            Peer::Restic => command.arg("init"),
            Peer::Borg => command.args(["init", "--encryption", "none"]).arg(repository(folder)),
        };
        command
    }

    /// Backs both files up. `name` names the archive where the tool wants that.
    pub(crate) fn backup(self, folder: &Path, name: &str, data: &Data) -> Command {
        let mut command = self.command(folder);
        match self {
            // `--force` reads files that seem unchanged, as our own backup does: it has no cache of file states.
            Peer::Restic => command.args(["backup", "--quiet", "--force"]),
            Peer::Borg => {
                command.args(["create", "--compression", "zstd,1", "--files-cache", "disabled"]);
                command.arg(format!("{}::{name}", repository(folder).display()))
            }
        };
        command.arg(&data.image).arg(&data.stream);
        command
    }

    /// Restores both files below `target`, which exists and is empty.
    pub(crate) fn restore(self, folder: &Path, name: &str, target: &Path) -> Command {
        let mut command = self.command(folder);
        match self {
            Peer::Restic => command.args(["restore", "--quiet", "latest", "--target"]).arg(target),
            Peer::Borg => {
                command.current_dir(target);
                command.arg("extract").arg(format!("{}::{name}", repository(folder).display()))
            }
        };
        command
    }

    fn command(self, folder: &Path) -> Command {
        let mut command = Command::new(self.name());
        match self {
            Peer::Restic => {
                command.env("RESTIC_PASSWORD", "bench").env("RESTIC_REPOSITORY", repository(folder));
                command.env("RESTIC_CACHE_DIR", folder.join("cache"));
            }
            Peer::Borg => {
                command.env("BORG_BASE_DIR", folder.join("base"));
                command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
            }
        }
        command
    }
}

/// Where the repository is, below the peer's own folder.
pub(crate) fn repository(folder: &Path) -> std::path::PathBuf {
    folder.join("repository")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_peer() {
        for peer in [Peer::Restic, Peer::Borg] {
            assert_eq!(Peer::named(peer.name()).unwrap(), peer);
        }
        assert!(Peer::named("tar").is_err());
    }
}
