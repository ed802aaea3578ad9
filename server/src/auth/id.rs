//! The names of users and API tokens.

pub use coldkeep_datastore::name::Owner as AuthId;

/// The administrator that every server has; no access list limits it.
const ROOT: &str = "root@pam";
/// Stands for "no credentials were asked for"; no realm is called `none`.
const NOBODY: &str = "nobody@none";

/// Returns `root@pam`, the administrator that every server has.
#[expect(clippy::missing_panics_doc, reason = "the name is a constant")]
pub fn root() -> AuthId {
    ROOT.parse().expect("invariant: the name is well-formed")
}

/// Tells whether this is [`root`] itself; a token of it is not.
pub fn is_root(who: &AuthId) -> bool {
    who.user() == ROOT && who.token().is_none()
}

pub(super) fn nobody() -> AuthId {
    NOBODY.parse().expect("invariant: the name is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_root_but_its_tokens_are_not() {
        assert!(is_root(&root()) && !is_root(&nobody()));
        assert!(!is_root(&"root@pam!tok".parse().unwrap()));
    }
}
