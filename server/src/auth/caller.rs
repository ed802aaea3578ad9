//! Who makes a request, and what they may do.

use std::sync::Arc;

use super::{Acl, AclPath, AuthId, Privileges, id};

/// The author of a request, with the access list as it was when the request arrived.
#[derive(Debug, Clone)]
pub struct Caller {
    auth_id: AuthId,
    grants: Grants,
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
        Self { auth_id: id::root(), grants: Grants::Everything }
    }

    /// Makes the caller of endpoints that ask for no credentials: `nobody@none`, who may do nothing else.
    pub fn nobody() -> Self {
        Self { auth_id: id::nobody(), grants: Grants::Nothing }
    }

    /// Makes a caller whose credentials were checked.
    pub fn authenticated(auth_id: AuthId, acl: Arc<Acl>) -> Self {
        Self { auth_id, grants: Grants::List(acl) }
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
}
