//! How many sessions there are: altogether, and of each user.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::api::ApiError;
use crate::auth::AuthId;

/// Lets sessions begin.
#[derive(Debug)]
pub(crate) struct SessionGate {
    max: usize,
    per_user_max: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    count: usize,
    users: BTreeMap<String, usize>,
}

/// The place of one session; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct SessionPlace {
    user: String,
    open: Arc<Mutex<Open>>,
}

impl SessionGate {
    pub(crate) fn new(max: usize, per_user_max: usize) -> Self {
        Self { max, per_user_max, open: Arc::default() }
    }

    /// Takes a place for a session of this user, or of a token of the user.
    ///
    /// # Errors
    /// 503 if there are too many.
    pub(crate) fn enter(&self, who: &AuthId) -> Result<SessionPlace, ApiError> {
        let user = who.user().to_string();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.count >= self.max {
            return Err(too_many(&format!("{} sessions are open already", open.count)));
        }
        let of_user = open.users.get(&user).copied().unwrap_or_default();
        if of_user >= self.per_user_max {
            return Err(too_many(&format!("{user} has {of_user} open sessions already")));
        }
        open.count += 1;
        *open.users.entry(user.clone()).or_default() += 1;
        Ok(SessionPlace { user, open: Arc::clone(&self.open) })
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.count -= 1;
        if let Some(count) = open.users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.users.remove(&self.user);
            }
        }
    }
}

fn too_many(what: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("{what}; try again when some have ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_share_the_whole_and_tokens_share_their_user() {
        let gate = SessionGate::new(3, 2);
        let enter = |who: &str| gate.enter(&who.parse().unwrap());
        let one = enter("al@pbs").unwrap();
        let _two = enter("al@pbs!ci").unwrap();
        let error = enter("al@pbs!other").unwrap_err();
        assert_eq!(
            (error.status(), error.message()),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "al@pbs has 2 open sessions already; try again when some have ended"
            )
        );
        let _three = enter("bo@pbs").unwrap();
        assert!(enter("cy@pbs").unwrap_err().message().starts_with("3 sessions are open"));
        drop(one);
        let _four = enter("al@pbs").unwrap();
        assert_eq!(gate.open.lock().unwrap().count, 3);
    }
}
