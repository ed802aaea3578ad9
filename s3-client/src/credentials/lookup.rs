//! Credentials from named values, as an environment has them.

use zeroize::Zeroizing;

use super::CredentialsError;
use crate::config::Credentials;

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

impl Credentials {
    /// Looks up `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is there, `AWS_SESSION_TOKEN` (AWS SDKs and tools reference,
    /// "AWS access keys"). An empty value counts as absent.
    ///
    /// A program that wants its environment read passes `|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// - [`CredentialsError::Missing`] names the value that is not there.
    /// - [`CredentialsError::Invalid`]: it is there and cannot be right.
    ///
    /// ```
    /// use coldkeep_s3_client::Credentials;
    /// let credentials = Credentials::from_lookup(|name| match name {
    ///     "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
    ///     "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
    ///     _ => None,
    /// });
    /// assert_eq!(credentials.unwrap().access_key(), "AKIDEXAMPLE");
    /// ```
    pub fn from_lookup(
        mut lookup: impl FnMut(&str) -> Option<String>,
    ) -> Result<Credentials, CredentialsError> {
        let mut find = |name| lookup(name).map(Zeroizing::new).filter(|value| !value.is_empty());
        let missing = |name| CredentialsError::Missing { name, place: "what was looked up".to_owned() };
        let access_key = find(ACCESS_KEY).ok_or_else(|| missing(ACCESS_KEY))?;
        let secret_key = find(SECRET_KEY).ok_or_else(|| missing(SECRET_KEY))?;
        let token = find(SESSION_TOKEN);
        combine(&access_key, &secret_key, token.as_ref().map(|token| token.as_str()))
    }
}

/// Builds credentials of the parts found.
pub(super) fn combine(
    access_key: &str,
    secret_key: &str,
    session_token: Option<&str>,
) -> Result<Credentials, CredentialsError> {
    let pair = Credentials::new(access_key, secret_key).map_err(CredentialsError::invalid)?;
    match session_token {
        Some(token) => pair.with_session_token(token).map_err(CredentialsError::invalid),
        None => Ok(pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(values: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let value = |name: &str| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Credentials::from_lookup(value)
    }

    #[test]
    fn all_three_values_are_used() {
        let found =
            lookup(&[(ACCESS_KEY, "AKID"), (SECRET_KEY, "geheim"), (SESSION_TOKEN, "fleeting")]).unwrap();
        assert_eq!(
            found,
            Credentials::new("AKID", "geheim").unwrap().with_session_token("fleeting").unwrap()
        );
        let found = lookup(&[(ACCESS_KEY, "AKID"), (SECRET_KEY, "geheim"), (SESSION_TOKEN, "")]).unwrap();
        assert_eq!(found.session_token(), None);
    }

    #[test]
    fn the_missing_value_is_named_and_no_secret_shown() {
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[(SECRET_KEY, "geheim")], "AWS_ACCESS_KEY_ID is missing in what was looked up"),
            (&[(ACCESS_KEY, "AKID")], "AWS_SECRET_ACCESS_KEY is missing in what was looked up"),
            (
                &[(ACCESS_KEY, "AKID"), (SECRET_KEY, "")],
                "AWS_SECRET_ACCESS_KEY is missing in what was looked up",
            ),
        ];
        for (values, expected) in cases {
            assert_eq!(lookup(values).unwrap_err().to_string(), expected);
        }
        let error =
            lookup(&[(ACCESS_KEY, "A/K"), (SECRET_KEY, "geheim"), (SESSION_TOKEN, "tok en")]).unwrap_err();
        assert!(matches!(error, CredentialsError::Invalid { .. }), "{error}");
        let error =
            lookup(&[(ACCESS_KEY, "AK"), (SECRET_KEY, "geheim"), (SESSION_TOKEN, "tok en")]).unwrap_err();
        assert!(
            !format!("{error:?}").contains("geheim") && !format!("{error:?}").contains("tok en"),
            "{error:?}"
        );
    }
}
