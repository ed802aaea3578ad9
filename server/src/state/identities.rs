//! Users, API tokens and the access list: in memory for requests, in files for the next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::json_file::{self, SECRET_MODE};
use super::{DataDir, StateError};
use crate::auth::{
    Acl, AclEntry, AclPath, AuthId, PasswordError, PasswordHasher, Role, is_root, random_secret, root,
};

/// Most users and most tokens; enough for any real server, and a bound for files and lists.
const ENTRIES_MAX: usize = 10_000;
/// Shortest password that can be set, in bytes (as in stock servers).
const PASSWORD_BYTES_MIN: usize = 8;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, `name@realm`.
    pub user: AuthId,
    /// Argon2id hash of the password.
    password: String,
    /// Whether logging in is allowed.
    pub enabled: bool,
    /// When the user stops being valid, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// An API token: a second name of a user, with a secret and rights of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The name, `name@realm!token`.
    pub token: AuthId,
    /// Argon2id hash of the secret.
    secret: String,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it stops being valid, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_at: Option<i64>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The users, tokens and access list of a server.
pub struct Identities {
    users_path: PathBuf,
    tokens_path: PathBuf,
    acl_path: PathBuf,
    hasher: PasswordHasher,
    view: RwLock<Arc<View>>,
    // Held over a whole change, so that changes follow one another.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct View {
    users: BTreeMap<AuthId, User>,
    tokens: BTreeMap<AuthId, Token>,
    acl: Arc<Acl>,
}

/// A change of users, tokens or the access list was refused, or could not be saved. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The user or token is there already.
    #[error("{who} exists already")]
    Exists {
        /// Whose name it is.
        who: AuthId,
    },
    /// There is no such user or token.
    #[error("there is no {who}")]
    Unknown {
        /// The name asked for.
        who: AuthId,
    },
    /// A token's name was given where a user's is needed, or the reverse.
    #[error("{who} is not the name of a {expected}")]
    Kind {
        /// The name.
        who: AuthId,
        /// "user" or "token".
        expected: &'static str,
    },
    /// The administrator cannot be removed or disabled.
    #[error("root@pam cannot be removed or disabled")]
    Root,
    /// The access list has no such entry.
    #[error("{who} has no role {role} on {path}")]
    NoEntry {
        /// The user or token.
        who: AuthId,
        /// The role.
        role: Role,
        /// The path.
        path: AclPath,
    },
    /// There are too many.
    #[error("there are {ENTRIES_MAX} already; remove some")]
    TooMany,
    /// The password is too short.
    #[error("a password needs at least {PASSWORD_BYTES_MIN} bytes")]
    ShortPassword,
    /// The password could not be hashed.
    #[error("cannot set the password")]
    Password(#[from] PasswordError),
    /// The change could not be saved.
    #[error("cannot save the change")]
    Save(#[from] StateError),
}

impl User {
    /// Tells whether the user may log in at `now`.
    pub fn is_active(&self, now: i64) -> bool {
        self.enabled && self.expire_at.is_none_or(|end| now < end)
    }
}

impl Token {
    /// Tells whether the token may be used at `now`; its user must be active too.
    pub fn is_active(&self, now: i64) -> bool {
        self.enabled && self.expire_at.is_none_or(|end| now < end)
    }
}

impl Identities {
    /// Reads the files; none there is an empty list. Blocks.
    ///
    /// # Errors
    /// [`StateError`] if a file cannot be read or is malformed.
    pub fn open(data_dir: &DataDir, hasher: PasswordHasher) -> Result<Self, StateError> {
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
        Ok(Self { users_path, tokens_path, acl_path, hasher, view, changing: tokio::sync::Mutex::default() })
    }

    /// Lists the users, by name.
    pub fn users(&self) -> Vec<User> {
        self.view().users.values().cloned().collect()
    }

    /// Lists the tokens, by name.
    pub fn tokens(&self) -> Vec<Token> {
        self.view().tokens.values().cloned().collect()
    }

    /// Returns the access list.
    pub fn acl(&self) -> Arc<Acl> {
        Arc::clone(&self.view().acl)
    }

    /// Tells whether there is such a user or token.
    pub fn exists(&self, who: &AuthId) -> bool {
        let view = self.view();
        view.users.contains_key(who) || view.tokens.contains_key(who)
    }

    /// Makes `root@pam` with a random password if there is no such user, and returns the password: the only time that it
    /// can be seen.
    ///
    /// # Errors
    /// [`IdentityError::Password`], [`IdentityError::Save`].
    ///
    /// # Cancel safety
    /// The user is made or not; the password may be lost.
    pub async fn ensure_administrator(&self) -> Result<Option<Zeroizing<String>>, IdentityError> {
        if self.exists(&root()) {
            return Ok(None);
        }
        let password = random_secret()?;
        match self.add_user(root(), password.clone(), None).await {
            Ok(()) => Ok(Some(password)),
            Err(IdentityError::Exists { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a user, who may log in at once and has no rights yet.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn add_user(
        &self,
        user: AuthId,
        password: Zeroizing<String>,
        comment: Option<String>,
    ) -> Result<(), IdentityError> {
        if user.token().is_some() {
            return Err(IdentityError::Kind { who: user, expected: "user" });
        }
        let password = self.hash_new(password).await?;
        self.change(|view| {
            if view.users.contains_key(&user) {
                return Err(IdentityError::Exists { who: user.clone() });
            }
            let added = User { user: user.clone(), password, enabled: true, expire_at: None, comment };
            view.users.insert(user, added);
            if view.users.len() > ENTRIES_MAX { Err(IdentityError::TooMany) } else { Ok(()) }
        })
        .await
    }

    /// Sets a user's password. Tickets handed out before stay good until they expire.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn set_password(
        &self,
        user: &AuthId,
        password: Zeroizing<String>,
    ) -> Result<(), IdentityError> {
        let password = self.hash_new(password).await?;
        self.change(|view| {
            let known =
                view.users.get_mut(user).ok_or_else(|| IdentityError::Unknown { who: user.clone() })?;
            known.password = password;
            Ok(())
        })
        .await
    }

    /// Allows or forbids a user or token to be used, and sets when it ends by itself.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn set_validity(
        &self,
        who: &AuthId,
        enabled: bool,
        expire_at: Option<i64>,
    ) -> Result<(), IdentityError> {
        if is_root(who) && (!enabled || expire_at.is_some()) {
            return Err(IdentityError::Root);
        }
        self.change(|view| {
            if let Some(user) = view.users.get_mut(who) {
                (user.enabled, user.expire_at) = (enabled, expire_at);
            } else if let Some(token) = view.tokens.get_mut(who) {
                (token.enabled, token.expire_at) = (enabled, expire_at);
            } else {
                return Err(IdentityError::Unknown { who: who.clone() });
            }
            Ok(())
        })
        .await
    }

    /// Removes a user with all tokens and rights.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn remove_user(&self, user: &AuthId) -> Result<(), IdentityError> {
        if is_root(user) {
            return Err(IdentityError::Root);
        }
        self.change(|view| {
            view.users.remove(user).ok_or_else(|| IdentityError::Unknown { who: user.clone() })?;
            view.tokens.retain(|token, _| token.user() != user.user());
            Arc::make_mut(&mut view.acl).remove_all_of(|who| who.user() == user.user());
            Ok(())
        })
        .await
    }

    /// Adds a token and returns its secret: the only time that it can be seen. It has no rights yet.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The token is made or not; the secret may be lost.
    pub async fn add_token(
        &self,
        token: AuthId,
        comment: Option<String>,
    ) -> Result<Zeroizing<String>, IdentityError> {
        if token.token().is_none() {
            return Err(IdentityError::Kind { who: token, expected: "token" });
        }
        let plain = random_secret()?;
        let secret = self.hasher.hash(plain.clone()).await?;
        self.change(|view| {
            let user = token.without_token();
            if !view.users.contains_key(&user) {
                return Err(IdentityError::Unknown { who: user });
            }
            if view.tokens.contains_key(&token) {
                return Err(IdentityError::Exists { who: token });
            }
            let added = Token { token: token.clone(), secret, enabled: true, expire_at: None, comment };
            view.tokens.insert(token, added);
            if view.tokens.len() > ENTRIES_MAX { Err(IdentityError::TooMany) } else { Ok(()) }
        })
        .await?;
        Ok(plain)
    }

    /// Removes a token and its rights.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn remove_token(&self, token: &AuthId) -> Result<(), IdentityError> {
        self.change(|view| {
            view.tokens.remove(token).ok_or_else(|| IdentityError::Unknown { who: token.clone() })?;
            Arc::make_mut(&mut view.acl).remove_all_of(|who| who == token);
            Ok(())
        })
        .await
    }

    /// Adds an entry to the access list.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn grant(&self, entry: AclEntry) -> Result<(), IdentityError> {
        self.change(|view| {
            if !view.users.contains_key(&entry.who) && !view.tokens.contains_key(&entry.who) {
                return Err(IdentityError::Unknown { who: entry.who });
            }
            let acl = Arc::make_mut(&mut view.acl);
            acl.add(entry);
            if acl.entries().count() > ENTRIES_MAX { Err(IdentityError::TooMany) } else { Ok(()) }
        })
        .await
    }

    /// Removes an entry from the access list.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn revoke(&self, path: &AclPath, who: &AuthId, role: Role) -> Result<(), IdentityError> {
        self.change(|view| {
            let is_gone = Arc::make_mut(&mut view.acl).remove(path, who, role);
            let missing = || IdentityError::NoEntry { who: who.clone(), role, path: path.clone() };
            is_gone.then_some(()).ok_or_else(missing)
        })
        .await
    }

    /// Tells whether the user exists, is active at `now`, and has this password.
    pub(crate) async fn check_password(
        &self,
        user: &AuthId,
        password: Zeroizing<String>,
        now: i64,
    ) -> Result<bool, PasswordError> {
        let stored =
            self.view().users.get(user).filter(|user| user.is_active(now)).map(|user| user.password.clone());
        self.hasher.verify(password, stored).await
    }

    /// Tells whether the user exists and is active at `now`.
    pub(crate) fn is_active_user(&self, user: &AuthId, now: i64) -> bool {
        self.view().users.get(user).is_some_and(|user| user.is_active(now))
    }

    /// Returns the hash of a token's secret, if token and user are active at `now`.
    pub(crate) fn active_token(&self, token: &AuthId, now: i64) -> Option<String> {
        let is_active = self.is_active_user(&token.without_token(), now);
        let view = self.view();
        let known = view.tokens.get(token).filter(|token| is_active && token.is_active(now));
        known.map(|token| token.secret.clone())
    }

    /// Tells whether a token's secret is the one that `stored` was made from.
    pub(crate) async fn check_secret(
        &self,
        secret: Zeroizing<String>,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.hasher.verify(secret, stored).await
    }

    async fn hash_new(&self, password: Zeroizing<String>) -> Result<String, IdentityError> {
        if password.len() < PASSWORD_BYTES_MIN {
            return Err(IdentityError::ShortPassword);
        }
        Ok(self.hasher.hash(password).await?)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a change to a copy, saves what differs, and only then lets requests see it.
    async fn change(
        &self,
        change: impl FnOnce(&mut View) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let _turn = self.changing.lock().await;
        let old = self.view();
        let mut new = View::clone(&old);
        change(&mut new)?;
        let new = Arc::new(new);
        let paths = (self.users_path.clone(), self.tokens_path.clone(), self.acl_path.clone());
        let save = {
            let new = Arc::clone(&new);
            move || save(&old, &new, &paths)
        };
        tokio::task::spawn_blocking(save).await.map_err(|_| StateError::Lost)??;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

/// Rights are saved before those who have them are removed and after they are added, so that a crash between two files
/// never leaves rights to a name that somebody else may take later.
fn save(
    old: &View,
    new: &View,
    (users, tokens, acl): &(PathBuf, PathBuf, PathBuf),
) -> Result<(), StateError> {
    if old.acl != new.acl {
        json_file::write(acl, &new.acl.entries().collect::<Vec<_>>(), SECRET_MODE)?;
    }
    if old.tokens != new.tokens {
        json_file::write(tokens, &new.tokens.values().collect::<Vec<_>>(), SECRET_MODE)?;
    }
    if old.users != new.users {
        json_file::write(users, &new.users.values().collect::<Vec<_>>(), SECRET_MODE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
