//! Credentials from the text of an AWS `credentials` or `config` file.

use std::fmt;

use super::CredentialsError;
use super::lookup::combine;
use crate::config::{ConfigError, Credentials, Region};

const ACCESS_KEY: &str = "aws_access_key_id";
const SECRET_KEY: &str = "aws_secret_access_key";
const SESSION_TOKEN: &str = "aws_session_token";
const REGION: &str = "region";

/// What one profile of an AWS `credentials` or `config` file says. `Debug` shows its name and region.
///
/// Read is the format of "Shared config and credentials files" (AWS SDKs and tools reference): sections `[name]`, or
/// `[profile name]` as `config` has them; `key = value` lines, keys in any case; comments that begin with `#` or `;`, at the start
/// of a line or after white space; deeper indented lines, which belong to a setting this crate does not know. Everything else is
/// passed over. Of a key given twice, the last value counts; a section given twice goes on. Roles, SSO and the like are not
/// followed: a profile without keys of its own has none.
///
/// ```
/// use coldkeep_s3_client::credentials::Profile;
/// let text = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\nregion = eu-central-1\n";
/// let profile = Profile::find(text, "default").unwrap();
/// assert_eq!(profile.credentials().unwrap().access_key(), "AKIDEXAMPLE");
/// assert_eq!(profile.region().unwrap().unwrap().as_str(), "eu-central-1");
/// ```
#[derive(Clone, Default)]
pub struct Profile<'a> {
    name: &'a str,
    access_key: Option<&'a str>,
    secret_key: Option<&'a str>,
    session_token: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Profile<'a> {
    /// Finds the profile `name` in `text`.
    ///
    /// # Errors
    /// [`CredentialsError::NoProfile`] if no section has that name.
    pub fn find(text: &'a str, name: &'a str) -> Result<Profile<'a>, CredentialsError> {
        let mut profile = Profile { name, ..Profile::default() };
        let (mut found, mut inside) = (false, false);
        // The indentation of the section's last key; what stands deeper continues that key's value.
        let mut key_indent = None;
        for line in text.lines() {
            let content = uncommented(line);
            let indent = line.len() - line.trim_start().len();
            if content.is_empty() || key_indent.is_some_and(|of_key| indent > of_key) {
                continue;
            }
            if let Some(section) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = section_name(section) == name;
                found |= inside;
                key_indent = None;
            } else if let Some((key, value)) = content.split_once('=') {
                key_indent = Some(indent);
                if inside {
                    profile.set(key.trim(), value.trim());
                }
            }
        }
        if found { Ok(profile) } else { Err(CredentialsError::NoProfile { profile: name.to_owned() }) }
    }

    /// Returns the profile's key pair, with its session token if it has one.
    ///
    /// # Errors
    /// - [`CredentialsError::Missing`] names the key that is not there.
    /// - [`CredentialsError::Invalid`]: it is there and cannot be right.
    pub fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let missing = |name| CredentialsError::Missing { name, place: format!("profile {:?}", self.name) };
        let access_key = self.access_key.ok_or_else(|| missing(ACCESS_KEY))?;
        let secret_key = self.secret_key.ok_or_else(|| missing(SECRET_KEY))?;
        combine(access_key, secret_key, self.session_token)
    }

    /// Returns the profile's region, if it names one.
    ///
    /// # Errors
    /// [`ConfigError::InvalidRegion`].
    pub fn region(&self) -> Result<Option<Region>, ConfigError> {
        self.region.map(str::parse).transpose()
    }

    fn set(&mut self, key: &str, value: &'a str) {
        let fields = [
            (ACCESS_KEY, &mut self.access_key),
            (SECRET_KEY, &mut self.secret_key),
            (SESSION_TOKEN, &mut self.session_token),
            (REGION, &mut self.region),
        ];
        if let Some((_, field)) = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            *field = Some(value).filter(|value| !value.is_empty());
        }
    }
}

impl fmt::Debug for Profile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Profile { name, region, .. } = self;
        f.debug_struct("Profile").field("name", name).field("region", region).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Takes the key pair of one profile out of the text of an AWS `credentials` or `config` file; see [`Profile`].
    ///
    /// # Errors
    /// Those of [`Profile::find`] and [`Profile::credentials`].
    pub fn from_profile(text: &str, profile: &str) -> Result<Credentials, CredentialsError> {
        Profile::find(text, profile)?.credentials()
    }
}

/// Cuts a comment off: `#` or `;` at the start or after white space, so that neither can cut a secret that merely holds one.
fn uncommented(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = line.match_indices(['#', ';']).find(starts).map_or(line.len(), |(at, _)| at);
    line[..end].trim()
}

/// Returns the profile's name: `config` writes `[profile name]`, `credentials` writes `[name]`, both may quote it.
fn section_name(section: &str) -> &str {
    let section = section.trim();
    let name = match section.split_once([' ', '\t']) {
        Some(("profile", name)) => name.trim(),
        _ => section,
    };
    let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    unquoted.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# Comment
[default]
aws_access_key_id=AKIDDEFAULT
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE=KEY#1;
aws_session_token =   fleeting==   ; of today
\tregion = not-a-region

[profile other]   # in `config`
  AWS_ACCESS_KEY_ID = AKIDOTHER
  aws_secret_access_key = geheim
  s3 =
    region = nested
    aws_access_key_id = NESTED
  region = eu-central-1
  output = json
stray line
[half]
aws_access_key_id = AKIDHALF
aws_secret_access_key =
region = Not A Region
[default]
region = us-east-1
[profile \"with space\"]
";

    #[test]
    fn a_profile_is_found_in_either_kind_of_file() {
        let default = Profile::find(TEXT, "default").unwrap();
        let expected =
            Credentials::new("AKIDDEFAULT", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLE=KEY#1;").unwrap();
        assert_eq!(default.credentials().unwrap(), expected.with_session_token("fleeting==").unwrap());
        assert_eq!(default.region().unwrap().unwrap().as_str(), "us-east-1");

        let other = Profile::find(TEXT, "other").unwrap();
        assert_eq!(other.credentials().unwrap(), Credentials::new("AKIDOTHER", "geheim").unwrap());
        assert_eq!(other.region().unwrap().unwrap().as_str(), "eu-central-1");

        let windows = TEXT.replace('\n', "\r\n");
        assert_eq!(
            Credentials::from_profile(&windows, "other").unwrap(),
            Credentials::from_profile(TEXT, "other").unwrap()
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let message = |profile| Credentials::from_profile(TEXT, profile).unwrap_err().to_string();
        assert_eq!(message("nobody"), "no profile \"nobody\" in the text");
        assert_eq!(message("profile other"), "no profile \"profile other\" in the text");
        assert_eq!(message("half"), "aws_secret_access_key is missing in profile \"half\"");
        assert_eq!(message("with space"), "aws_access_key_id is missing in profile \"with space\"");
        let region = Profile::find(TEXT, "half").unwrap().region();
        assert!(matches!(region, Err(ConfigError::InvalidRegion { .. })), "{region:?}");
        assert_eq!(Profile::find(TEXT, "with space").unwrap().region(), Ok(None));
    }

    #[test]
    fn no_secret_is_shown() {
        let profile = Profile::find(TEXT, "default").unwrap();
        assert_eq!(format!("{profile:?}"), "Profile { name: \"default\", region: Some(\"us-east-1\"), .. }");
        let text = "[a]\naws_access_key_id = A/B\naws_secret_access_key = geheim";
        let error = Credentials::from_profile(text, "a").unwrap_err();
        assert!(matches!(error, CredentialsError::Invalid { .. }), "{error}");
        assert!(!format!("{error:?} {error}").contains("geheim"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in any::<String>(), near in "([\\[\\]a;#= \t\né]|aws_access_key_id|profile ){0,30}") {
            for text in [text, near] {
                let _ = Credentials::from_profile(&text, "a");
            }
        }
    }
}
