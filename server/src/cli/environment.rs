//! What the command line takes from the environment (spec `client.md` §1): the only place that reads it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use coldkeep_s3_client::Credentials;
use zeroize::Zeroizing;

/// Longest first line of a file, descriptor or command that is taken as a value, in bytes.
const VALUE_BYTES_MAX: u64 = 4096;

/// The variables that the process was started with.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

/// A value that may also come from a file, a command, a descriptor or systemd's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// Password of a user or secret of a token.
    Password,
    /// Password or secret that a remote is given, for the server to show there: not the one for the server itself.
    RemotePassword,
    /// Where backups go.
    Repository,
    /// SHA-256 of the server's certificate.
    Fingerprint,
}

impl Setting {
    /// Returns the variable that holds it.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Password => "PBS_PASSWORD",
            Self::RemotePassword => "COLDKEEP_REMOTE_PASSWORD",
            Self::Repository => "PBS_REPOSITORY",
            Self::Fingerprint => "PBS_FINGERPRINT",
        }
    }

    const fn credential(self) -> &'static str {
        match self {
            Self::Password => "proxmox-backup-client.password",
            Self::RemotePassword => "coldkeep.remote-password",
            Self::Repository => "proxmox-backup-client.repository",
            Self::Fingerprint => "proxmox-backup-client.fingerprint",
        }
    }
}

impl Environment {
    /// Takes the variables of this process.
    pub(crate) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// Returns a variable that is set and not empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsString> {
        self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty())
    }

    /// Returns a variable as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match value.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => bail!("{name} is not UTF-8 text"),
        }
    }

    /// Returns a variable as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).map(PathBuf::from)
    }

    /// Looks a setting up: `NAME`, then `NAME_FD`, `NAME_FILE`, `NAME_CMD`, then systemd's credentials. Of the last
    /// four only the first line counts.
    pub(crate) fn setting(&self, setting: Setting) -> Result<Option<Zeroizing<String>>> {
        let name = setting.variable();
        if let Some(value) = self.text(name)? {
            return Ok(Some(Zeroizing::new(value)));
        }
        if let Some(descriptor) = self.text(&format!("{name}_FD"))? {
            let number: u32 =
                descriptor.parse().with_context(|| format!("{name}_FD: {descriptor:?} is no number"))?;
            return first_line_of(&PathBuf::from(format!("/dev/fd/{number}")), &format!("{name}_FD"))
                .map(Some);
        }
        if let Some(path) = self.path(&format!("{name}_FILE")) {
            return first_line_of(&path, &format!("{name}_FILE")).map(Some);
        }
        if let Some(command) = self.raw(&format!("{name}_CMD")) {
            return output_of(command, &format!("{name}_CMD")).map(Some);
        }
        let credential = self.path("CREDENTIALS_DIRECTORY").map(|folder| folder.join(setting.credential()));
        match credential.filter(|path| path.is_file()) {
            Some(path) => first_line_of(&path, "CREDENTIALS_DIRECTORY").map(Some),
            None => Ok(None),
        }
    }
}

impl Environment {
    /// Returns the credentials of buckets, if there are any: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and perhaps
    /// `AWS_SESSION_TOKEN`.
    pub(crate) fn s3_credentials(&self) -> Result<Option<Credentials>> {
        if self.raw("AWS_ACCESS_KEY_ID").is_none() && self.raw("AWS_SECRET_ACCESS_KEY").is_none() {
            return Ok(None);
        }
        let lookup = |name: &str| self.raw(name)?.to_str().map(str::to_owned);
        Ok(Some(Credentials::from_lookup(lookup).context("the environment has no usable credentials")?))
    }
}

/// Makes an environment of these variables alone.
#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

fn first_line_of(path: &std::path::Path, variable: &str) -> Result<Zeroizing<String>> {
    let failed = || format!("{variable}: cannot read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    first_line(file).with_context(failed)
}

fn output_of(command: &OsString, variable: &str) -> Result<Zeroizing<String>> {
    let failed = || format!("{variable}: cannot run the command");
    let output =
        Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(failed)?;
    if !output.status.success() {
        bail!("{variable}: the command ended with {}", output.status);
    }
    let text = Zeroizing::new(output.stdout);
    first_line(text.as_slice()).with_context(failed)
}

/// Reads the first line without its end.
pub(crate) fn first_line(reader: impl Read) -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(reader.take(VALUE_BYTES_MAX)).read_line(&mut line)?;
    let len = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(len);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password<const N: usize>(variables: [(&str, &str); N]) -> Result<Option<String>> {
        Ok(Environment::from(variables).setting(Setting::Password)?.map(|value| value.to_string()))
    }

    #[test]
    fn sources_are_tried_in_order_and_only_the_first_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "from file\r\nsecond\n").unwrap();
        std::fs::write(folder.path().join("proxmox-backup-client.password"), "from systemd").unwrap();
        let (file, folder) = (file.to_str().unwrap(), folder.path().to_str().unwrap());
        let command = ("PBS_PASSWORD_CMD", "printf 'from command\\nmore\\n'");
        let all = [("PBS_PASSWORD", "plain"), ("PBS_PASSWORD_FILE", file), command];
        assert_eq!(password(all).unwrap().as_deref(), Some("plain"));
        assert_eq!(password([("PBS_PASSWORD_FILE", file), command]).unwrap().as_deref(), Some("from file"));
        let last = ("CREDENTIALS_DIRECTORY", folder);
        assert_eq!(password([command, last]).unwrap().as_deref(), Some("from command"));
        assert_eq!(password([last]).unwrap().as_deref(), Some("from systemd"));
        assert_eq!(password([("PBS_PASSWORD", "")]).unwrap(), None);
        assert_eq!(password([]).unwrap(), None);
    }

    #[test]
    fn the_password_for_a_remote_is_another_one() {
        let environment =
            Environment::from([("PBS_PASSWORD", "here"), ("COLDKEEP_REMOTE_PASSWORD_CMD", "echo there")]);
        let value = |setting| environment.setting(setting).unwrap().map(|value| value.to_string());
        assert_eq!(value(Setting::Password).as_deref(), Some("here"));
        assert_eq!(value(Setting::RemotePassword).as_deref(), Some("there"));
    }

    #[test]
    fn sources_that_fail_are_errors_and_name_the_variable() {
        for (name, value) in
            [("PBS_PASSWORD_FILE", "/nonexistent"), ("PBS_PASSWORD_CMD", "exit 3"), ("PBS_PASSWORD_FD", "x")]
        {
            let error = password([(name, value)]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
