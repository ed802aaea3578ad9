//! Users, API tokens and the access list: in memory for requests, in files for the next start.

mod entry;
mod error;
mod view;

use std::sync::Arc;

use zeroize::Zeroizing;

pub use entry::{IdentityFacts, IdentityProperty, IdentityPropertyError, IdentityUpdate, Token, User};
pub use error::IdentityError;

use view::{Shared, View};

use super::{DataDir, StateError};
use crate::auth::{
    Acl, AclEntry, AclPath, AuthId, PasswordError, PasswordHasher, Role, is_root, random_secret, root,
};

/// Most users, most tokens and most entries of the access list; enough for any real server, and a bound for files and lists.
const ENTRIES_MAX: usize = 10_000;
/// Most tokens of one user: whoever has no other right may make their own.
const TOKENS_PER_USER_MAX: usize = 64;
/// Most entries of the access list for all tokens of one user, for the same reason. With `ENTRIES_MAX` for everybody, a few dozen
/// users can still fill the list together.
const ENTRIES_OF_TOKENS_MAX: usize = 256;
/// Shortest password that can be set, in bytes (as in stock servers).
const PASSWORD_BYTES_MIN: usize = 8;

/// The users, tokens and access list of a server.
pub struct Identities {
    shared: Arc<Shared>,
    hasher: PasswordHasher,
    // Held over a whole change, so that changes follow one another.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl Identities {
    /// Reads the files; none there is an empty list. Blocks.
    ///
    /// # Errors
    /// [`StateError`] if a file cannot be read or is malformed.
    pub fn open(data_dir: &DataDir, hasher: PasswordHasher) -> Result<Self, StateError> {
        let shared = Arc::new(Shared::open(data_dir)?);
        Ok(Self { shared, hasher, changing: Arc::default() })
    }

    /// Lists the users, by name.
    pub fn users(&self) -> Vec<User> {
        self.view().users.values().cloned().collect()
    }

    /// Lists the tokens, by name.
    pub fn tokens(&self) -> Vec<Token> {
        self.view().tokens.values().cloned().collect()
    }

    /// Finds a user.
    ///
    /// # Errors
    /// [`IdentityError::Unknown`].
    pub fn user(&self, user: &AuthId) -> Result<User, IdentityError> {
        self.view().users.get(user).cloned().ok_or_else(|| IdentityError::Unknown { who: user.clone() })
    }

    /// Finds a token.
    ///
    /// # Errors
    /// [`IdentityError::Unknown`].
    pub fn token(&self, token: &AuthId) -> Result<Token, IdentityError> {
        self.view().tokens.get(token).cloned().ok_or_else(|| IdentityError::Unknown { who: token.clone() })
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
        self.add_user_with(user, password, IdentityFacts { comment, ..IdentityFacts::default() }).await
    }

    /// As [`add_user`](Self::add_user), with everything that can be said of a user.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn add_user_with(
        &self,
        user: AuthId,
        password: Zeroizing<String>,
        facts: IdentityFacts,
    ) -> Result<(), IdentityError> {
        if user.token().is_some() {
            return Err(IdentityError::Kind { who: user, expected: "user" });
        }
        check_root(&user, &facts)?;
        let password = self.hash_new(password).await?;
        self.change(|view| {
            if view.users.contains_key(&user) {
                return Err(IdentityError::Exists { who: user.clone() });
            }
            view.users.insert(user.clone(), User::new(user, password, facts));
            if view.users.len() > ENTRIES_MAX { Err(IdentityError::TooMany) } else { Ok(()) }
        })
        .await
    }

    /// Changes a user. Tickets handed out before stay good until they expire, unless the user is disabled.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn update_user(&self, user: &AuthId, mut update: IdentityUpdate) -> Result<(), IdentityError> {
        let password = match update.password.take() {
            Some(password) => Some(self.hash_new(password).await?),
            None => None,
        };
        self.change(|view| {
            let known =
                view.users.get_mut(user).ok_or_else(|| IdentityError::Unknown { who: user.clone() })?;
            known.change(password, update);
            check_root(user, &known.facts())
        })
        .await
    }

    /// Changes a token; its secret stays.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The change is made or not.
    pub async fn update_token(&self, token: &AuthId, update: IdentityUpdate) -> Result<(), IdentityError> {
        self.change(|view| {
            let known =
                view.tokens.get_mut(token).ok_or_else(|| IdentityError::Unknown { who: token.clone() })?;
            known.change(update);
            Ok(())
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
        let update = IdentityUpdate { password: Some(password), ..IdentityUpdate::default() };
        self.update_user(user, update).await
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
        // Nothing is unset otherwise: no end at all is written as the beginning of time.
        let (enabled, expire_at) = (Some(enabled), Some(expire_at.unwrap_or(0)));
        let update = IdentityUpdate { enabled, expire_at, ..IdentityUpdate::default() };
        match who.token() {
            Some(_) => self.update_token(who, update).await,
            None => self.update_user(who, update).await,
        }
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
        self.add_token_with(token, IdentityFacts { comment, ..IdentityFacts::default() }).await
    }

    /// As [`add_token`](Self::add_token), with everything that can be said of a token.
    ///
    /// # Errors
    /// [`IdentityError`].
    ///
    /// # Cancel safety
    /// The token is made or not; the secret may be lost.
    pub async fn add_token_with(
        &self,
        token: AuthId,
        facts: IdentityFacts,
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
            view.tokens.insert(token.clone(), Token::new(token, secret, facts));
            if view.tokens_of(&user).count() > TOKENS_PER_USER_MAX {
                return Err(IdentityError::TooManyTokens { user });
            }
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
            let who = entry.who.clone();
            acl.add(entry);
            let user = who.without_token();
            let is_of_same = |who: &AuthId| who.token().is_some() && who.without_token() == user;
            if is_of_same(&who)
                && acl.entries().filter(|entry| is_of_same(&entry.who)).count() > ENTRIES_OF_TOKENS_MAX
            {
                return Err(IdentityError::TooManyRoles { user });
            }
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

    /// Returns the hash of the user's password, if the user exists, is active at `now`, and has this password.
    pub(crate) async fn check_password(
        &self,
        user: &AuthId,
        password: Zeroizing<String>,
        now: i64,
    ) -> Result<Option<String>, PasswordError> {
        let stored = self.active_password(user, now);
        let is_right = self.hasher.verify(password, stored.clone()).await?;
        Ok(stored.filter(|_| is_right))
    }

    /// Returns the hash of a user's password, if the user is active at `now`.
    pub(crate) fn active_password(&self, user: &AuthId, now: i64) -> Option<String> {
        self.view().users.get(user).filter(|user| user.is_active(now)).map(|user| user.password.clone())
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
        self.shared.view()
    }

    /// Makes a change to a copy, saves what differs, and only then lets requests see it.
    async fn change(
        &self,
        change: impl FnOnce(&mut View) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let old = self.view();
        let mut new = View::clone(&old);
        change(&mut new)?;
        let shared = Arc::clone(&self.shared);
        // All of it goes with the thread: whoever asked may go away meanwhile, and files and memory must not differ.
        let save = move || {
            let _turn = turn;
            shared.save(&old, &new)?;
            shared.show(new);
            Ok::<(), StateError>(())
        };
        tokio::task::spawn_blocking(save).await.map_err(|_| StateError::Lost)??;
        Ok(())
    }
}

/// The administrator can always get in.
fn check_root(who: &AuthId, facts: &IdentityFacts) -> Result<(), IdentityError> {
    let may_be_shut_out = !facts.enabled || facts.expire_at.is_some();
    if is_root(who) && may_be_shut_out { Err(IdentityError::Root) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
