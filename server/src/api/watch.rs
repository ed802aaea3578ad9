//! Who hears about requests as they are answered: the audit log.

use super::error::ApiError;
use super::param::Param;
use super::params::Params;
use crate::auth::{AuthId, Caller};

/// Longest value that is told, in bytes.
const VALUE_BYTES_MAX: usize = 256;
/// Most elements of a list that are told.
const LIST_LEN_MAX: usize = 16;
/// What stands for a secret.
const REDACTED: &str = "(secret)";

/// Hears about one request, step by step; where it is refused, nothing follows but that.
pub trait Watch: Send {
    /// The credentials are good, or none were asked for.
    fn admitted(&mut self, _caller: &Caller) {}
    /// The endpoint is known by its path, as the table writes it.
    fn found(&mut self, _path: &'static str) {}
    /// The parameters are what the endpoint takes.
    fn asked(&mut self, _asked: &Asked<'_>) {}
    /// Somebody proved who they are by this request.
    fn logged_in(&mut self, _user: &AuthId) {}
    /// The request was refused.
    fn refused(&mut self, _error: &ApiError) {}
}

/// Nobody hears.
impl Watch for () {}

/// What was asked for.
pub struct Asked<'a> {
    /// The endpoint's path, as the table writes it.
    pub path: &'static str,
    pub(super) described: &'static [Param],
    pub(super) params: &'a Params,
}

impl Asked<'_> {
    /// Lists the parameters that were given, or have defaults, each as one text: bounded, and without what is secret.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let is_secret = |name: &str| self.described.iter().any(|param| param.name == name && param.is_secret);
        self.params.each().map(move |(name, texts)| {
            if is_secret(name) {
                return (name, REDACTED.to_owned());
            }
            let mut shown: Vec<String> = texts.iter().take(LIST_LEN_MAX).map(|text| cut(text)).collect();
            if texts.len() > LIST_LEN_MAX {
                shown.push("…".to_owned());
            }
            (name, cut(&shown.join(", ")))
        })
    }
}

/// Cuts a text between characters.
fn cut(text: &str) -> String {
    if text.len() <= VALUE_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(VALUE_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::super::param::Kind;
    use super::super::params::Raw;
    use super::*;

    static DESCRIBED: &[Param] = &[
        Param::required("name", Kind::Text { bytes_max: 1 << 20 }, ""),
        Param::optional("password", Kind::Text { bytes_max: 1 << 20 }, "").secret(),
        Param::optional("list", Kind::List(&Kind::Text { bytes_max: 1 << 20 }), ""),
    ];

    #[test]
    fn what_is_told_is_bounded_and_has_no_secrets() {
        let mut raw = Raw::default();
        let (long, list) = ("ü".repeat(1000), "&list=x".repeat(40));
        raw.add_form(&format!("name={long}&password=geheim{list}")).unwrap();
        let params = raw.check(DESCRIBED).unwrap();
        let shown: Vec<_> = Asked { path: "", described: DESCRIBED, params: &params }.shown().collect();
        assert_eq!((shown[0].1.chars().count(), shown[0].1.len()), (129, 259));
        assert_eq!(shown[1], ("password", "(secret)".to_owned()));
        assert_eq!(shown[2].1, format!("{}…", "x, ".repeat(16)));
    }
}
