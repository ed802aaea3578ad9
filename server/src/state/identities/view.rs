//! What requests see of the users, tokens and the access list, and the files that it comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Token, User};
use crate::auth::{Acl, AclEntry, AuthId};
use crate::state::json_file::{self, SECRET_MODE};
use crate::state::{DataDir, StateError};

pub(super) struct Shared {
    users_path: PathBuf,
    tokens_path: PathBuf,
    acl_path: PathBuf,
    view: RwLock<Arc<View>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) users: BTreeMap<AuthId, User>,
    pub(super) tokens: BTreeMap<AuthId, Token>,
    pub(super) acl: Arc<Acl>,
}

impl View {
    /// Lists the tokens of a user.
    pub(super) fn tokens_of(&self, user: &AuthId) -> impl Iterator<Item = &Token> {
        self.tokens.values().filter(|token| token.token.user() == user.user())
    }
}

impl Shared {
    /// Reads the files; none there is an empty list. Blocks.
    pub(super) fn open(data_dir: &DataDir) -> Result<Self, StateError> {
        let users_path = data_dir.config("users.json");
        let tokens_path = data_dir.config("tokens.json");
        let acl_path = data_dir.config("acl.json");
        let users: Vec<User> = json_file::read(&users_path)?;
        let tokens: Vec<Token> = json_file::read(&tokens_path)?;
        let entries: Vec<AclEntry> = json_file::read(&acl_path)?;
        let mut acl = Acl::default();
        for entry in entries {
            acl.add(entry);
        }
        let view = View {
            users: users.into_iter().map(|user| (user.user.clone(), user)).collect(),
            tokens: tokens.into_iter().map(|token| (token.token.clone(), token)).collect(),
            acl: Arc::new(acl),
        };
        let view = RwLock::new(Arc::new(view));
        Ok(Self { users_path, tokens_path, acl_path, view })
    }

    /// Returns what requests see now.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets requests see something new.
    pub(super) fn show(&self, new: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
    }

    /// Saves what differs. Blocks.
    ///
    /// Rights are saved before those who have them are removed and after they are added, so that a crash between two files
    /// never leaves rights to a name that somebody else may take later.
    pub(super) fn save(&self, old: &View, new: &View) -> Result<(), StateError> {
        if old.acl != new.acl {
            json_file::write(&self.acl_path, &new.acl.entries().collect::<Vec<_>>(), SECRET_MODE)?;
        }
        if old.tokens != new.tokens {
            json_file::write(&self.tokens_path, &new.tokens.values().collect::<Vec<_>>(), SECRET_MODE)?;
        }
        if old.users != new.users {
            json_file::write(&self.users_path, &new.users.values().collect::<Vec<_>>(), SECRET_MODE)?;
        }
        Ok(())
    }
}
