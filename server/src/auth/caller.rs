//! Who makes a request, and what they may do.

use std::net::IpAddr;
use std::sync::Arc;

use coldkeep_datastore::{RemoteName, StoreName};

use super::{Acl, AclPath, AuthId, Privileges, id};

/// The author of a request, with the access list as it was when the request arrived.
#[derive(Debug, Clone)]
pub struct Caller {
    auth_id: AuthId,
    grants: Grants,
    peer: Option<IpAddr>,
}

#[derive(Debug, Clone)]
enum Grants {
    /// The embedded caller, who can read and write the store's folder anyway.
    Everything,
    List(Arc<Acl>),
    Nothing,
}

impl Caller {
    /// Makes the caller of an embedded server: `root@pam`, without credentials.
    pub fn local_root() -> Self {
        Self { auth_id: id::root(), grants: Grants::Everything, peer: None }
    }

    /// Makes the caller of endpoints that ask for no credentials: `nobody@none`, who may do nothing else.
    pub fn nobody() -> Self {
        Self { auth_id: id::nobody(), grants: Grants::Nothing, peer: None }
    }

    /// Makes a caller whose credentials were checked.
    pub fn authenticated(auth_id: AuthId, acl: Arc<Acl>) -> Self {
        Self { auth_id, grants: Grants::List(acl), peer: None }
    }

    /// Returns the caller with the address that the request came from.
    #[must_use]
    pub fn with_peer(self, peer: Option<IpAddr>) -> Self {
        Self { peer, ..self }
    }

    /// Returns the address that the request came from; `None` within the same process.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the user or token.
    pub fn auth_id(&self) -> &AuthId {
        &self.auth_id
    }

    /// Tells whether this is the caller of an embedded server.
    pub fn is_local_root(&self) -> bool {
        matches!(self.grants, Grants::Everything)
    }

    /// Tells whether no credentials were asked for.
    pub fn is_nobody(&self) -> bool {
        matches!(self.grants, Grants::Nothing)
    }

    /// Returns what the caller may do at `path`.
    pub fn privileges(&self, path: &AclPath) -> Privileges {
        match &self.grants {
            Grants::Everything => Privileges::ALL,
            Grants::List(acl) => acl.privileges(&self.auth_id, path),
            Grants::Nothing => Privileges::NONE,
        }
    }

    /// Tells whether the caller has one of `any` on a datastore of a remote, `/remote/{remote}/{store}`: `Remote.Read` to pull
    /// from it (spec `pull.md` §1). What they may do here is another question.
    pub fn has_on_remote(&self, remote: &RemoteName, store: &StoreName, any: Privileges) -> bool {
        self.privileges(&AclPath::remote(remote.as_str(), Some(store.as_str()))).has_any(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AclEntry, Role};

    #[test]
    fn pulling_needs_the_right_to_read_the_datastore_of_the_remote() {
        let mut acl = Acl::default();
        for (who, path, role) in [
            ("al@pbs", "/remote/far/tank", Role::RemoteSyncOperator),
            ("bo@pbs", "/remote/far", Role::RemoteAudit),
            ("cy@pbs", "/remote", Role::RemoteAdmin),
            ("di@pbs", "/datastore", Role::DatastoreAdmin),
        ] {
            let (path, who) = (path.parse().unwrap(), who.parse().unwrap());
            acl.add(AclEntry { path, who, role, propagate: true });
        }
        let acl = Arc::new(acl);
        let may = |who: &str, remote: &str, store: &str| {
            let caller = Caller::authenticated(who.parse().unwrap(), Arc::clone(&acl));
            caller.has_on_remote(&remote.parse().unwrap(), &store.parse().unwrap(), Privileges::REMOTE_READ)
        };
        assert!(
            may("al@pbs", "far", "tank") && !may("al@pbs", "far", "other") && !may("al@pbs", "near", "tank")
        );
        assert!(may("cy@pbs", "far", "tank") && may("cy@pbs", "near", "other"));
        assert!(!may("bo@pbs", "far", "tank") && !may("di@pbs", "far", "tank"));
        assert!(may("root@pam", "far", "tank"));
        assert!(!Caller::nobody().has_on_remote(
            &"far".parse().unwrap(),
            &"tank".parse().unwrap(),
            Privileges::ALL
        ));
    }
}
