//! The access list: who has which role on which path (rest-api.md 2.3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::is_root;
use super::{AuthId, Privileges, Role};

/// Longest path of an access list entry, in bytes: store, seven namespace components and room to spare.
const PATH_BYTES_MAX: usize = 512;

/// A place that privileges are granted on: `/`, `/datastore/{store}[/{namespace}…]`, `/remote/{remote}[/{store}]`,
/// `/system/…`, `/access/…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclPath(Vec<String>);

/// A text that is no path of the access list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no access path, as in /datastore/store1")]
pub struct AclPathError {
    /// The text, cut to a length that can be shown.
    pub path: String,
}

impl AclPath {
    /// Returns `/datastore/{store}/{namespace}`; the namespace may be empty or have several components.
    pub fn datastore(store: &str, namespace: &str) -> Self {
        let components =
            ["datastore", store].into_iter().chain(namespace.split('/').filter(|part| !part.is_empty()));
        Self(components.map(str::to_owned).collect())
    }

    /// Returns `/remote/{remote}`, or `/remote/{remote}/{store}` for one datastore there.
    pub fn remote(remote: &str, store: Option<&str>) -> Self {
        Self(["remote", remote].into_iter().chain(store).map(str::to_owned).collect())
    }

    /// Returns `/access/users`, where the rights to see and manage users and their tokens are looked up.
    pub fn users() -> Self {
        Self(["access", "users"].map(str::to_owned).into())
    }

    /// Returns `/access/acl`, where the rights to see and manage the access list are looked up.
    pub fn acl() -> Self {
        Self(["access", "acl"].map(str::to_owned).into())
    }

    /// Lists everything above the path from the root down, and the path itself.
    fn ancestors(&self) -> impl DoubleEndedIterator<Item = &[String]> {
        (0..=self.0.len()).map(|depth| &self.0[..depth])
    }
}

impl FromStr for AclPath {
    type Err = AclPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |part: &str| {
            !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if !text.starts_with('/') || text.len() > PATH_BYTES_MAX || !parts.iter().copied().all(good) {
            return Err(AclPathError { path: text.chars().take(80).collect() });
        }
        Ok(Self(parts.into_iter().map(str::to_owned).collect()))
    }
}

impl fmt::Display for AclPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

impl Serialize for AclPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AclPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One entry: `who` has `role` on `path`, and below it if `propagate` is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclEntry {
    /// Where.
    pub path: AclPath,
    /// The user or token.
    pub who: AuthId,
    /// What is granted.
    pub role: Role,
    /// Whether it holds below the path too.
    pub propagate: bool,
}

/// The access list of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acl {
    // Roles by path and auth id, each with its propagate flag.
    entries: BTreeMap<Vec<String>, BTreeMap<AuthId, BTreeMap<Role, bool>>>,
}

impl Acl {
    /// Adds an entry; one of the same path, auth id and role is replaced.
    pub fn add(&mut self, entry: AclEntry) {
        let roles = self.entries.entry(entry.path.0).or_default().entry(entry.who).or_default();
        roles.insert(entry.role, entry.propagate);
    }

    /// Removes the entry of this path, auth id and role; tells whether there was one.
    pub fn remove(&mut self, path: &AclPath, who: &AuthId, role: Role) -> bool {
        let Some(at_path) = self.entries.get_mut(&path.0) else { return false };
        let removed = at_path.get_mut(who).is_some_and(|roles| roles.remove(&role).is_some());
        at_path.retain(|_, roles| !roles.is_empty());
        self.entries.retain(|_, at_path| !at_path.is_empty());
        removed
    }

    /// Removes every entry that `drop` selects, such as those of a user who is gone.
    pub fn remove_all_of(&mut self, drop: impl Fn(&AuthId) -> bool) {
        for at_path in self.entries.values_mut() {
            at_path.retain(|who, _| !drop(who));
        }
        self.entries.retain(|_, at_path| !at_path.is_empty());
    }

    /// Lists the entries, by path, auth id and role.
    pub fn entries(&self) -> impl Iterator<Item = AclEntry> {
        self.entries.iter().flat_map(|(path, at_path)| {
            at_path.iter().flat_map(|(who, roles)| {
                roles.iter().map(|(role, propagate)| AclEntry {
                    path: AclPath(path.clone()),
                    who: who.clone(),
                    role: *role,
                    propagate: *propagate,
                })
            })
        })
    }

    /// Returns what `who` may do at `path`.
    ///
    /// The deepest path with an entry that applies replaces all above it. A token has what its own entries grant and its
    /// user has too; `root@pam` has everything.
    pub fn privileges(&self, who: &AuthId, path: &AclPath) -> Privileges {
        let (here, _) = self.both(who, path);
        here
    }

    /// Returns what `who` may do at `path`, and which part of that propagates below it.
    pub fn both(&self, who: &AuthId, path: &AclPath) -> (Privileges, Privileges) {
        let user = who.without_token();
        let of_user = if is_root(&user) { (Privileges::ALL, Privileges::ALL) } else { self.own(&user, path) };
        if who.token().is_none() {
            return of_user;
        }
        let own = self.own(who, path);
        (own.0.intersection(of_user.0), own.1.intersection(of_user.1))
    }

    /// Lists the paths that name `who` or its user, and the root: enough to show every place where its rights change.
    pub fn paths_of(&self, who: &AuthId) -> BTreeSet<AclPath> {
        let user = who.without_token();
        let named = self.entries.iter().filter(|(_, at)| at.contains_key(who) || at.contains_key(&user));
        named.map(|(path, _)| AclPath(path.clone())).chain([AclPath(Vec::new())]).collect()
    }

    /// What the entries of `who` alone grant at `path`, and what of it propagates.
    fn own(&self, who: &AuthId, path: &AclPath) -> (Privileges, Privileges) {
        for node in path.ancestors().rev() {
            let Some(roles) = self.entries.get(node).and_then(|at_path| at_path.get(who)) else { continue };
            let is_here = node.len() == path.0.len();
            let applies: Vec<_> = roles.iter().filter(|(_, propagate)| is_here || **propagate).collect();
            if applies.is_empty() {
                continue;
            }
            // NoAccess wins over the other roles of the same node.
            if applies.iter().any(|(role, _)| **role == Role::NoAccess) {
                return (Privileges::NONE, Privileges::NONE);
            }
            return applies.into_iter().fold(
                (Privileges::NONE, Privileges::NONE),
                |(here, below), (role, propagate)| {
                    let granted = role.privileges();
                    (here | granted, if *propagate { below | granted } else { below })
                },
            );
        }
        (Privileges::NONE, Privileges::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(&str, &str, Role, bool)]) -> Acl {
        let mut acl = Acl::default();
        for (path, who, role, propagate) in entries {
            let (path, who) = (path.parse().unwrap(), who.parse().unwrap());
            acl.add(AclEntry { path, who, role: *role, propagate: *propagate });
        }
        acl
    }

    fn granted(acl: &Acl, who: &str, path: &str) -> Privileges {
        acl.privileges(&who.parse().unwrap(), &path.parse().unwrap())
    }

    #[test]
    fn the_deepest_matching_path_replaces_the_ones_above() {
        let acl = acl(&[
            ("/datastore", "al@pbs", Role::DatastoreAdmin, true),
            ("/datastore/s1", "al@pbs", Role::DatastoreAudit, true),
            ("/datastore/s1/a", "al@pbs", Role::NoAccess, true),
        ]);
        assert_eq!(granted(&acl, "al@pbs", "/datastore/s2"), Role::DatastoreAdmin.privileges());
        assert_eq!(granted(&acl, "al@pbs", "/datastore/s1/b"), Privileges::DATASTORE_AUDIT);
        assert_eq!(granted(&acl, "al@pbs", "/datastore/s1/a/deep"), Privileges::NONE);
        assert_eq!(granted(&acl, "bo@pbs", "/datastore/s2"), Privileges::NONE);
    }

    #[test]
    fn a_role_that_does_not_propagate_holds_at_its_path_only() {
        let acl = acl(&[
            ("/datastore/s1", "al@pbs", Role::DatastoreBackup, false),
            ("/datastore", "al@pbs", Role::DatastoreAudit, true),
        ]);
        assert_eq!(granted(&acl, "al@pbs", "/datastore/s1"), Privileges::DATASTORE_BACKUP);
        assert_eq!(granted(&acl, "al@pbs", "/datastore/s1/ns"), Privileges::DATASTORE_AUDIT);
    }

    #[test]
    fn a_token_has_no_more_than_its_user_and_nothing_of_its_own() {
        let mut acl = acl(&[
            ("/datastore/s1", "al@pbs", Role::DatastorePowerUser, true),
            ("/datastore/s1", "al@pbs!cii", Role::DatastoreAdmin, true),
        ]);
        assert_eq!(granted(&acl, "al@pbs!cii", "/datastore/s1"), Role::DatastorePowerUser.privileges());
        assert_eq!(granted(&acl, "al@pbs!other", "/datastore/s1"), Privileges::NONE);
        assert_eq!(granted(&acl, "root@pam!tok", "/"), Privileges::NONE);
        assert_eq!(granted(&acl, "root@pam", "/anything"), Privileges::ALL);
        assert!(acl.remove(
            &"/datastore/s1".parse().unwrap(),
            &"al@pbs".parse().unwrap(),
            Role::DatastorePowerUser
        ));
        assert_eq!(granted(&acl, "al@pbs!cii", "/datastore/s1"), Privileges::NONE);
    }

    #[test]
    fn remotes_have_paths_with_their_datastores_below() {
        let acl = acl(&[
            ("/remote", "al@pbs", Role::RemoteAdmin, true),
            ("/remote/far/tank", "al@pbs", Role::RemoteAudit, true),
        ]);
        let at = |remote, store| acl.privileges(&"al@pbs".parse().unwrap(), &AclPath::remote(remote, store));
        assert_eq!(at("far", None), Role::RemoteAdmin.privileges());
        assert_eq!(at("far", Some("other")), Role::RemoteAdmin.privileges());
        assert_eq!(at("far", Some("tank")), Role::RemoteAudit.privileges());
    }

    #[test]
    fn paths_with_dots_or_without_a_leading_slash_are_refused() {
        for path in ["", "datastore", "/a/../b", "/.x", "/a b", "/ü"] {
            assert!(path.parse::<AclPath>().is_err(), "{path:?} was taken");
        }
        assert_eq!("//datastore//s1/".parse::<AclPath>().unwrap().to_string(), "/datastore/s1");
    }
}
