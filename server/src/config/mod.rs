//! `coldkeep.toml`: what an operator can set, read and checked as a whole.
//!
//! One table (`options.rs`) says of each option where it stands, what it may be and what it means. Reading, the messages, the printed
//! configuration and the commented example all come from it.

mod error;
mod field;
mod options;
mod read;
mod render;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem, Wrong};
pub use render::{effective, example};

use crate::Limits;

/// Name of the file in the data folder.
pub const CONFIG_FILE: &str = "coldkeep.toml";
/// Largest file read, in bytes; the example has a few thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything that can be set. The default is what holds without a file.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Config {
    /// How the server is reached, and how it ends.
    pub server: ServerConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What the server holds at once and how long it waits.
    pub limits: Limits,
    /// How the server is watched.
    pub metrics: MetricsConfig,
}

/// How the server is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MetricsConfig {
    /// Address and port of a plain HTTP listener for `/metrics` and `/health`.
    pub listen: Option<SocketAddr>,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Addresses and ports to listen on; empty: all addresses, port 8007.
    pub listen: Vec<SocketAddr>,
    /// Certificate with its chain, and its key; both or neither.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// A level, or levels by module, as `tracing` filters are written.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the file that was named, else `coldkeep.toml` in the data folder if there is one, else takes the defaults. Blocks.
    ///
    /// # Errors
    /// [`ConfigError`]; a file that was named must exist.
    pub fn load(named: Option<&Path>, data_dir: &Path) -> Result<Loaded, ConfigError> {
        let path = named.map_or_else(|| data_dir.join(CONFIG_FILE), Path::to_owned);
        let is_optional = named.is_none();
        match read_text(&path) {
            Ok(text) => Ok(Loaded { config: Self::parse(&text, &path)?, file: Some(path) }),
            Err(error) if is_optional && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Loaded { config: Self::default(), file: None })
            }
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Checks the text of a file; `path` is its name for messages, and relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] with everything that is wrong with it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let (config, problems) = read::read(text, path.parent().unwrap_or(Path::new("")));
        if problems.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Wrong { path: path.to_owned(), problems })
    }
}

/// A configuration, and the file that it was read from; `None` if there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file.
    pub file: Option<PathBuf>,
}

fn read_text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
