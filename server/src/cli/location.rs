//! Where a command works: a local folder or a datastore on a server (DECISIONS, "embedded repository").

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use coldkeep_client::Repository;
use coldkeep_datastore::StoreName;

use super::environment::{Environment, Setting};

/// The store of a folder if none is written.
const DEFAULT_STORE: &str = "default";

/// Folder of the administrator's server.
const SYSTEM_FOLDER: &str = "/var/lib/coldkeep";

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

impl Location {
    /// Picks the location: the option, else `PBS_REPOSITORY`, else the default data folder.
    pub(crate) fn choose(option: Option<&str>, environment: &Environment) -> Result<Self> {
        if let Some(text) = option {
            return Self::parse(text);
        }
        match environment.setting(Setting::Repository)? {
            Some(text) => Self::parse(&text).context("PBS_REPOSITORY"),
            None => {
                let folder = default_folder(environment)?;
                Ok(Self::Local(LocalStore { folder, store: default_store(), is_default: true }))
            }
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

/// Returns the data folder that is used if none is named.
pub(crate) fn default_folder(environment: &Environment) -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(SYSTEM_FOLDER.into());
    }
    user_folder(environment)
}

fn user_folder(environment: &Environment) -> Result<PathBuf> {
    // The XDG base directory specification wants relative paths to be ignored.
    let base = environment.path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || environment.path("HOME").map(|home| home.join(".local/share"));
    let base = base.or_else(home).context("neither XDG_DATA_HOME nor HOME is set; name a data folder")?;
    Ok(base.join("coldkeep"))
}

fn default_store() -> StoreName {
    DEFAULT_STORE.parse().expect("invariant: the name is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> (String, String) {
        match Location::choose(Some(text), &Environment::from([])).unwrap() {
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
        ] {
            assert_eq!(local(text), (folder.to_owned(), store.to_owned()), "{text}");
        }
        assert!(Location::choose(Some("/srv/backup:../x"), &Environment::from([])).is_ok(), "a folder with a colon");
        assert!(Location::choose(Some("/srv/backup:a b"), &Environment::from([])).is_err());
        assert!(Location::choose(Some("./x:"), &Environment::from([])).is_err());
    }

    #[test]
    fn everything_else_is_a_server() {
        let chosen = Location::choose(Some("joe@pbs@pbs1:tank"), &Environment::from([])).unwrap();
        assert_eq!(chosen.to_string(), "joe@pbs@pbs1:8007:tank");
    }

    #[test]
    fn the_option_wins_over_the_environment_and_the_default_comes_last() {
        let environment = Environment::from([("PBS_REPOSITORY", "pbs1:tank")]);
        assert_eq!(Location::choose(Some("./x"), &environment).unwrap().to_string(), "./x:default");
        assert_eq!(Location::choose(None, &environment).unwrap().to_string(), "root@pam@pbs1:8007:tank");
        let home = Environment::from([("HOME", "/home/joe"), ("XDG_DATA_HOME", "relative")]);
        assert_eq!(user_folder(&home).unwrap(), PathBuf::from("/home/joe/.local/share/coldkeep"));
        let xdg = Environment::from([("HOME", "/home/joe"), ("XDG_DATA_HOME", "/data")]);
        assert_eq!(user_folder(&xdg).unwrap(), PathBuf::from("/data/coldkeep"));
        assert!(user_folder(&Environment::from([])).is_err());
        assert!(matches!(Location::choose(None, &home).unwrap(), Location::Local(LocalStore { is_default: true, .. })));
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = Location::choose(None, &Environment::from([("PBS_REPOSITORY", "a b:tank")])).unwrap_err();
        assert_eq!(error.to_string(), "PBS_REPOSITORY");
    }
}
