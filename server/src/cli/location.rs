//! Where a command works: a local folder or a datastore on a server (DECISIONS, "embedded repository").

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use coldkeep_client::Repository;
use coldkeep_datastore::StoreName;

use super::environment::{Environment, Setting};

/// The store of a folder if none is written.
const DEFAULT_STORE: &str = "default";

/// Where a command works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A data folder, served inside this process.
    Local(LocalStore),
    /// A server.
    Remote(Repository),
}

/// A datastore of a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalStore {
    /// The data folder.
    pub(crate) folder: PathBuf,
    /// Its store.
    pub(crate) store: StoreName,
    /// Whether nobody named the folder, so that it has to be shown.
    pub(crate) is_default: bool,
}

/// The data folder of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataFolder {
    /// Somebody named it.
    Named(PathBuf),
    /// Nobody did.
    Default(PathBuf),
}

impl DataFolder {
    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Default(path) => path,
        }
    }
}

impl Location {
    /// Picks the location: `--repository`, else a data folder that was named, else `PBS_REPOSITORY`, else the default
    /// data folder.
    pub(crate) fn choose(
        option: Option<&str>,
        folder: &DataFolder,
        environment: &Environment,
    ) -> Result<Self> {
        if let Some(text) = option {
            return Self::parse(text);
        }
        let local = |folder: &PathBuf, is_default| {
            Self::Local(LocalStore { folder: folder.clone(), store: default_store(), is_default })
        };
        match folder {
            DataFolder::Named(path) => Ok(local(path, false)),
            DataFolder::Default(path) => match environment.setting(Setting::Repository)? {
                Some(text) => Self::parse(&text).context("PBS_REPOSITORY"),
                None => Ok(local(path, true)),
            },
        }
    }

    /// Parses `FOLDER[:STORE]` if the text contains a slash or starts with a dot, else
    /// `[[user@realm@]host[:port]:]store`.
    fn parse(text: &str) -> Result<Self> {
        if !(text.contains('/') || text.starts_with('.')) {
            return Ok(Self::Remote(text.parse()?));
        }
        let (folder, store) = match text.rsplit_once(':') {
            // A colon before a slash is part of the folder's name.
            Some((folder, store)) if !store.contains('/') => {
                (folder, store.parse().with_context(|| format!("repository {text:?}"))?)
            }
            _ => (text, default_store()),
        };
        if folder.is_empty() {
            bail!("repository {text:?} names no folder");
        }
        Ok(Self::Local(LocalStore { folder: folder.into(), store, is_default: false }))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => write!(f, "{}:{}", local.folder.display(), local.store),
            Self::Remote(repository) => repository.fmt(f),
        }
    }
}

fn default_store() -> StoreName {
    DEFAULT_STORE.parse().expect("invariant: the name is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose<const N: usize>(option: Option<&str>, variables: [(&str, &str); N]) -> Result<Location> {
        Location::choose(option, &DataFolder::Default("/home".into()), &Environment::from(variables))
    }

    fn local(text: &str) -> (String, String) {
        match choose(Some(text), []).unwrap() {
            Location::Local(local) => (local.folder.to_str().unwrap().to_owned(), local.store.to_string()),
            Location::Remote(repository) => panic!("{text} is remote: {repository}"),
        }
    }

    #[test]
    fn folders_contain_a_slash_or_start_with_a_dot() {
        for (text, folder, store) in [
            ("/srv/backup", "/srv/backup", "default"),
            ("./x", "./x", "default"),
            (".", ".", "default"),
            ("..:tank", "..", "tank"),
            ("/srv/backup:tank", "/srv/backup", "tank"),
            ("a/b:tank", "a/b", "tank"),
            ("/a:b/c", "/a:b/c", "default"),
            ("/a:b/", "/a:b/", "default"),
            ("/a:../b", "/a:../b", "default"),
        ] {
            assert_eq!(local(text), (folder.to_owned(), store.to_owned()), "{text}");
        }
        assert!(choose(Some("/srv/backup:a b"), []).is_err());
        assert!(choose(Some("./x:"), []).is_err());
    }

    #[test]
    fn everything_else_is_a_server() {
        let chosen = choose(Some("joe@pbs@pbs1:tank"), []).unwrap();
        assert_eq!(chosen.to_string(), "joe@pbs@pbs1:8007:tank");
    }

    #[test]
    fn the_option_wins_then_a_named_folder_then_the_environment() {
        let variables = [("PBS_REPOSITORY", "pbs1:tank")];
        assert_eq!(choose(Some("./x"), variables).unwrap().to_string(), "./x:default");
        let named =
            Location::choose(None, &DataFolder::Named("/named".into()), &Environment::from(variables))
                .unwrap();
        assert_eq!(named.to_string(), "/named:default");
        assert_eq!(choose(None, variables).unwrap().to_string(), "root@pam@pbs1:8007:tank");
        let default = choose(None, []).unwrap();
        assert!(matches!(&default, Location::Local(LocalStore { is_default: true, .. })));
        assert_eq!(default.to_string(), "/home:default");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = choose(None, [("PBS_REPOSITORY", "a b:tank")]).unwrap_err();
        assert_eq!(error.to_string(), "PBS_REPOSITORY");
    }
}
