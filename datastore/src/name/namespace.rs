//! The path that nests groups inside a datastore.

use std::str::FromStr;

use super::{NameError, check_safe_id, text_newtype};

/// Namespace: up to seven components of 1 to 32 characters, 256 characters in all; the empty text is the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

text_newtype!(Namespace);

impl Namespace {
    /// Most components (spec `formats.md` §11).
    pub const DEPTH_MAX: usize = 7;
    /// Most bytes of the whole path (spec `formats.md` §11).
    pub const BYTES_MAX: usize = 256;

    /// Returns the root namespace.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// Returns the number of components; 0 for the root.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Returns the namespace around this one; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// Returns the namespace called `component` inside this one.
    ///
    /// # Errors
    /// A [`NameError`] if the component is no safe id of 1 to 32 characters or the path would be too deep or too long.
    pub fn child(&self, component: &str) -> Result<Self, NameError> {
        check_safe_id("namespace component", component, 1..=32)?;
        if self.is_root() {
            return Ok(Self(component.to_owned()));
        }
        if self.depth() >= Self::DEPTH_MAX {
            return Err(NameError::Depth { depth: self.depth() + 1, max: Self::DEPTH_MAX });
        }
        let length = self.0.len() + 1 + component.len();
        if length > Self::BYTES_MAX {
            return Err(NameError::Length { what: "namespace", length, min: 0, max: Self::BYTES_MAX });
        }
        Ok(Self(format!("{}/{component}", self.0)))
    }

    /// Tells whether this namespace is `other` or lies inside it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self == other
            || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > Self::BYTES_MAX {
            return Err(NameError::Length {
                what: "namespace",
                length: text.len(),
                min: 0,
                max: Self::BYTES_MAX,
            });
        }
        if text.is_empty() {
            return Ok(Self::root());
        }
        text.split('/').try_fold(Self::root(), |namespace, component| namespace.child(component))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_levels_are_allowed_and_eight_are_not() {
        assert_eq!("a/b/c/d/e/f/g".parse::<Namespace>().unwrap().depth(), 7);
        assert_eq!("a/b/c/d/e/f/g/h".parse::<Namespace>(), Err(NameError::Depth { depth: 8, max: 7 }));
    }

    #[test]
    fn the_whole_path_is_bounded() {
        let deep = vec!["a".repeat(32); 7].join("/");
        assert!(deep.parse::<Namespace>().is_ok());
        assert!(matches!("a".repeat(257).parse::<Namespace>(), Err(NameError::Length { .. })));
    }

    #[test]
    fn path_tricks_are_refused() {
        for text in ["/", "a/", "/a", "a//b", "..", "a/../b", "a\0", "a/.chunks"] {
            assert!(text.parse::<Namespace>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn within_compares_whole_components() {
        let [outer, inner, sibling] = ["a", "a/b", "ab"].map(|text| text.parse::<Namespace>().unwrap());
        assert!(inner.is_within(&outer) && outer.is_within(&outer) && outer.is_within(&Namespace::root()));
        assert!(!sibling.is_within(&outer) && !outer.is_within(&inner));
    }

    #[test]
    fn parents_lead_to_the_root() {
        let inner: Namespace = "a/b".parse().unwrap();
        let outer = inner.parent().unwrap();
        assert_eq!(outer.as_str(), "a");
        assert_eq!(outer.parent(), Some(Namespace::root()));
        assert_eq!(Namespace::root().parent(), None);
    }
}
