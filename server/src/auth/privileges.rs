//! Privileges and the roles that bundle them (rest-api.md 2.3).

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of privileges.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Privileges(u32);

macro_rules! privileges {
    ($($constant:ident = $bit:literal, $name:literal, $doc:literal;)*) => {
        impl Privileges {
            $(#[doc = $doc] pub const $constant: Self = Self(1 << $bit);)*
            /// Every privilege there is.
            pub const ALL: Self = Self($(1 << $bit)|*);
        }

        const NAMES: &[(Privileges, &str)] = &[$((Privileges::$constant, $name)),*];
    };
}

privileges! {
    DATASTORE_AUDIT = 0, "Datastore.Audit", "See a datastore and list any content.";
    DATASTORE_READ = 1, "Datastore.Read", "Read any backup.";
    DATASTORE_BACKUP = 2, "Datastore.Backup", "Create backups; read, list and verify own groups.";
    DATASTORE_PRUNE = 3, "Datastore.Prune", "Delete and prune own groups.";
    DATASTORE_MODIFY = 4, "Datastore.Modify", "Change or delete anything, collect garbage, manage namespaces.";
    DATASTORE_VERIFY = 5, "Datastore.Verify", "Verify anything.";
    DATASTORE_ALLOCATE = 6, "Datastore.Allocate", "Create and remove datastores.";
    REMOTE_AUDIT = 7, "Remote.Audit", "See remotes.";
    REMOTE_MODIFY = 8, "Remote.Modify", "Change remotes.";
    REMOTE_READ = 9, "Remote.Read", "Pull from remotes.";
    REMOTE_DATASTORE_BACKUP = 10, "Remote.DatastoreBackup", "Push backups to remotes.";
    REMOTE_DATASTORE_MODIFY = 11, "Remote.DatastoreModify", "Change content of remotes.";
    REMOTE_DATASTORE_PRUNE = 12, "Remote.DatastorePrune", "Prune own content of remotes.";
    SYS_AUDIT = 13, "Sys.Audit", "See the system's state, tasks and access lists.";
    SYS_MODIFY = 14, "Sys.Modify", "Change the system's configuration.";
    SYS_POWER_MANAGEMENT = 15, "Sys.PowerManagement", "Stop and restart the system.";
    SYS_CONSOLE = 16, "Sys.Console", "Open a console.";
    PERMISSIONS_MODIFY = 17, "Permissions.Modify", "Change access lists.";
    REALM_ALLOCATE = 18, "Realm.Allocate", "Manage realms.";
}

impl Privileges {
    /// No privilege.
    pub const NONE: Self = Self(0);

    /// Returns the privileges that are in this set or in the other.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the privileges that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Tells whether the sets have a privilege in common.
    pub const fn has_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// Tells whether no privilege is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Lists the privileges in the set, each with its name.
    pub fn each(self) -> impl Iterator<Item = (Self, &'static str)> {
        NAMES.iter().copied().filter(move |(bit, _)| self.has_any(*bit))
    }

    /// Lists the names of the privileges in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.each().map(|(_, name)| name)
    }
}

impl BitOr for Privileges {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// A named set of privileges, as access lists grant it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Everything.
    Admin,
    /// Seeing the system and all datastores.
    Audit,
    /// Nothing; on a deeper path it takes away what a shallower one grants.
    NoAccess,
    /// Everything within datastores, short of creating and removing them.
    DatastoreAdmin,
    /// Reading and verifying any backup.
    DatastoreReader,
    /// Creating backups and reading own ones.
    DatastoreBackup,
    /// Creating and pruning own backups.
    DatastorePowerUser,
    /// Listing.
    DatastoreAudit,
    /// Seeing remotes.
    RemoteAudit,
    /// Managing remotes.
    RemoteAdmin,
    /// Pulling from remotes.
    RemoteSyncOperator,
    /// Pushing to remotes.
    RemoteSyncPushOperator,
    /// Pushing to remotes, and pruning what was pushed.
    RemoteDatastorePrune,
    /// Pushing to remotes, and managing what lies there, with its namespaces.
    RemoteDatastoreAdmin,
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no role is named {name:?}; there are {}", Role::ALL.map(|role| role.to_string()).join(", "))]
pub struct UnknownRole {
    /// The text, cut to a length that can be shown.
    pub name: String,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 14] = [
        Self::Admin,
        Self::Audit,
        Self::NoAccess,
        Self::DatastoreAdmin,
        Self::DatastoreReader,
        Self::DatastoreBackup,
        Self::DatastorePowerUser,
        Self::DatastoreAudit,
        Self::RemoteAudit,
        Self::RemoteAdmin,
        Self::RemoteSyncOperator,
        Self::RemoteSyncPushOperator,
        Self::RemoteDatastorePrune,
        Self::RemoteDatastoreAdmin,
    ];

    /// Returns what the role grants.
    pub const fn privileges(self) -> Privileges {
        use Privileges as P;
        match self {
            Self::Admin => P::ALL,
            Self::Audit => P::SYS_AUDIT.union(P::DATASTORE_AUDIT),
            Self::NoAccess => P::NONE,
            Self::DatastoreAdmin => P::DATASTORE_AUDIT
                .union(P::DATASTORE_MODIFY)
                .union(P::DATASTORE_READ)
                .union(P::DATASTORE_VERIFY)
                .union(P::DATASTORE_BACKUP)
                .union(P::DATASTORE_PRUNE),
            Self::DatastoreReader => P::DATASTORE_AUDIT.union(P::DATASTORE_VERIFY).union(P::DATASTORE_READ),
            Self::DatastoreBackup => P::DATASTORE_BACKUP,
            Self::DatastorePowerUser => P::DATASTORE_BACKUP.union(P::DATASTORE_PRUNE),
            Self::DatastoreAudit => P::DATASTORE_AUDIT,
            Self::RemoteAudit => P::REMOTE_AUDIT,
            Self::RemoteAdmin => P::REMOTE_AUDIT.union(P::REMOTE_MODIFY).union(P::REMOTE_READ),
            Self::RemoteSyncOperator => P::REMOTE_AUDIT.union(P::REMOTE_READ),
            Self::RemoteSyncPushOperator => P::REMOTE_AUDIT.union(P::REMOTE_DATASTORE_BACKUP),
            Self::RemoteDatastorePrune => {
                P::REMOTE_AUDIT.union(P::REMOTE_DATASTORE_BACKUP).union(P::REMOTE_DATASTORE_PRUNE)
            }
            Self::RemoteDatastoreAdmin => P::REMOTE_AUDIT
                .union(P::REMOTE_DATASTORE_BACKUP)
                .union(P::REMOTE_DATASTORE_PRUNE)
                .union(P::REMOTE_DATASTORE_MODIFY),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The names of the variants are the names on the wire.
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.to_string() == text);
        found.ok_or_else(|| UnknownRole { name: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_by_the_names_they_show() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err());
    }

    #[test]
    fn a_power_user_may_prune_but_not_modify() {
        let granted = Role::DatastorePowerUser.privileges();
        assert!(granted.has_any(Privileges::DATASTORE_PRUNE));
        assert!(!granted.has_any(Privileges::DATASTORE_MODIFY | Privileges::DATASTORE_READ));
        assert_eq!(granted.names().collect::<Vec<_>>(), ["Datastore.Backup", "Datastore.Prune"]);
    }
}
