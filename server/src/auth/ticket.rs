//! Tickets and CSRF tokens (rest-api.md 2.1): texts that say who logged in when, signed with the server's key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::AuthId;

/// How old a ticket may be, in seconds; a little less than nothing allows for clocks that differ.
const AGE_SECONDS: std::ops::RangeInclusive<i64> = -300..=7200;
/// What a user id escapes in a ticket, so that `:` and `%` keep their meaning and every client can carry it in a cookie.
const ESCAPED: &AsciiSet =
    &CONTROLS.add(b'%').add(b':').add(b'/').add(b' ').add(b'"').add(b',').add(b';').add(b'\\');
/// Bytes of one signature.
const MAC_BYTES: usize = 32;
/// Bytes of the signing key.
pub const TICKET_KEY_BYTES: usize = 32;

/// The server's key for signing tickets.
pub struct TicketKey(Zeroizing<[u8; TICKET_KEY_BYTES]>);

/// Why a ticket or CSRF token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketRefused {
    /// It does not have the form of one.
    #[error("malformed ticket")]
    Malformed,
    /// It was not signed by this server, or was changed.
    #[error("wrong signature")]
    Signature,
    /// This server signed it, but the user has another password now, is disabled, or is no more.
    #[error("ended ticket")]
    Ended,
    /// It is too old, or from the future.
    #[error("expired ticket")]
    Expired,
}

impl TicketKey {
    /// Takes the key's bytes.
    pub fn new(bytes: Zeroizing<[u8; TICKET_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Signs a ticket for `user`, whose stored password this is, at `now` (seconds since the Unix epoch).
    ///
    /// The stored password goes into a second signature, so that a new one ends all tickets, and so does a new user of that name; the first
    /// one still tells that the server signed it.
    pub fn ticket(&self, user: &AuthId, stored_password: &str, now: i64) -> String {
        let text = format!("PBS:{}:{now:08X}", utf8_percent_encode(&user.to_string(), ESCAPED));
        let signatures = [self.mac("ticket", &text), self.mac("bound", &bound(&text, stored_password))];
        let signatures = signatures.map(|mac| mac.finalize().into_bytes().to_vec()).concat();
        format!("{text}::{}", STANDARD_NO_PAD.encode(signatures))
    }

    /// Signs a CSRF token for `user` at `now`.
    pub fn csrf_token(&self, user: &AuthId, now: i64) -> String {
        let time = format!("{now:08X}");
        let signature = self.sign("csrf", &format!("{time}:{user}"));
        format!("{time}:{signature}")
    }

    /// Checks a ticket and returns whose it is; `stored_password` tells a user's, or that there is no such user.
    ///
    /// # Errors
    /// [`TicketRefused`]; a client should log in again.
    pub fn check_ticket(
        &self,
        ticket: &str,
        stored_password: impl FnOnce(&AuthId) -> Option<String>,
        now: i64,
    ) -> Result<AuthId, TicketRefused> {
        let (text, signature) = ticket.rsplit_once("::").ok_or(TicketRefused::Malformed)?;
        let Some((Some(user), time)) = parts_of(text) else { return Err(TicketRefused::Malformed) };
        let signatures = STANDARD_NO_PAD.decode(signature).map_err(|_| TicketRefused::Malformed)?;
        let (signed, bound_to) = signatures.split_at_checked(MAC_BYTES).ok_or(TicketRefused::Malformed)?;
        self.mac("ticket", text).verify_slice(signed).map_err(|_| TicketRefused::Signature)?;
        let stored_password = stored_password(&user).ok_or(TicketRefused::Ended)?;
        let is_bound = self.mac("bound", &bound(text, &stored_password)).verify_slice(bound_to);
        is_bound.map_err(|_| TicketRefused::Ended)?;
        check_age(time, now)?;
        Ok(user)
    }

    /// Checks the CSRF token that goes with a ticket of `user`.
    ///
    /// # Errors
    /// [`TicketRefused`].
    pub fn check_csrf_token(&self, token: &str, user: &AuthId, now: i64) -> Result<(), TicketRefused> {
        let (time, signature) = token.split_once(':').ok_or(TicketRefused::Malformed)?;
        self.check("csrf", &format!("{time}:{user}"), signature)?;
        check_age(time, now)
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0[..]);
        let mut mac = mac.expect("invariant: HMAC takes keys of any length");
        // The purpose keeps a CSRF token from being taken for a ticket.
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac
    }

    fn sign(&self, purpose: &str, text: &str) -> String {
        STANDARD_NO_PAD.encode(self.mac(purpose, text).finalize().into_bytes())
    }

    fn check(&self, purpose: &str, text: &str, signature: &str) -> Result<(), TicketRefused> {
        let signature = STANDARD_NO_PAD.decode(signature).map_err(|_| TicketRefused::Malformed)?;
        self.mac(purpose, text).verify_slice(&signature).map_err(|_| TicketRefused::Signature)
    }
}

/// Returns what is signed of a ticket; there is no zero in its text.
fn bound(text: &str, stored_password: &str) -> String {
    format!("{text}\0{stored_password}")
}

/// Returns whose a ticket claims to be; nothing of it is checked.
pub(super) fn user_of(ticket: &str) -> Option<AuthId> {
    let (text, _signature) = ticket.rsplit_once("::")?;
    parts_of(text)?.0
}

/// Takes the signed part of a ticket apart: the user, if the name is one, and the time.
fn parts_of(text: &str) -> Option<(Option<AuthId>, &str)> {
    let (user, time) = text.strip_prefix("PBS:")?.rsplit_once(':')?;
    let user = percent_decode_str(user).decode_utf8().ok();
    Some((user.and_then(|user| user.parse().ok()), time))
}

fn check_age(time: &str, now: i64) -> Result<(), TicketRefused> {
    let signed_at = i64::from_str_radix(time, 16).map_err(|_| TicketRefused::Malformed)?;
    let is_fresh = now.checked_sub(signed_at).is_some_and(|age| AGE_SECONDS.contains(&age));
    is_fresh.then_some(()).ok_or(TicketRefused::Expired)
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 0x6553_F100;

    fn key(byte: u8) -> TicketKey {
        TicketKey::new(Zeroizing::new([byte; TICKET_KEY_BYTES]))
    }

    fn user(text: &str) -> AuthId {
        text.parse().unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands for a look at the users")]
    fn hash(_: &AuthId) -> Option<String> {
        Some("hash".to_owned())
    }

    #[test]
    fn tickets_have_the_form_that_stock_clients_expect() {
        let ticket = key(1).ticket(&user("alice@pbs"), "hash", NOW);
        let signature = ticket.strip_prefix("PBS:alice@pbs:6553F100::").unwrap();
        assert!(!signature.contains([':', '=', ' ']) && signature.len() == 86);
        for name in ["alice@pbs", "a%b@pbs", "ü,;\"\\@pbs", "a@b!c@pbs"] {
            let ticket = key(1).ticket(&user(name), "hash", NOW);
            assert_eq!(key(1).check_ticket(&ticket, hash, NOW).unwrap(), user(name));
            assert!(ticket.is_ascii());
        }
    }

    #[test]
    fn tickets_are_good_for_two_hours() {
        let ticket = key(1).ticket(&user("alice@pbs"), "hash", NOW);
        let csrf = key(1).csrf_token(&user("alice@pbs"), NOW);
        for (age, is_good) in [(-301, false), (-300, true), (0, true), (7200, true), (7201, false)] {
            let expected = if is_good { Ok(()) } else { Err(TicketRefused::Expired) };
            assert_eq!(key(1).check_ticket(&ticket, hash, NOW + age).map(drop), expected);
            assert_eq!(key(1).check_csrf_token(&csrf, &user("alice@pbs"), NOW + age), expected);
        }
    }

    #[test]
    fn a_changed_or_foreign_ticket_is_refused() {
        let ticket = key(1).ticket(&user("alice@pbs"), "hash", NOW);
        let csrf = key(1).csrf_token(&user("alice@pbs"), NOW);
        assert_eq!(key(2).check_ticket(&ticket, hash, NOW), Err(TicketRefused::Signature));
        let changed = ticket.replace("alice", "root");
        assert_eq!(key(1).check_ticket(&changed, hash, NOW), Err(TicketRefused::Signature));
        assert_eq!(key(1).check_ticket(&csrf, hash, NOW), Err(TicketRefused::Malformed));
        assert_eq!(key(1).check_csrf_token(&csrf, &user("root@pam"), NOW), Err(TicketRefused::Signature));
        for text in ["", "PBS:a@pbs:6553F100", "PBS:a@pbs:6553F100::!!"] {
            assert_eq!(key(1).check_ticket(text, hash, NOW), Err(TicketRefused::Malformed));
        }
    }

    #[test]
    fn a_ticket_ends_with_the_password() {
        let ticket = key(1).ticket(&user("alice@pbs"), "hash", NOW);
        for stored in [None, Some("other"), Some("hash2"), Some("")] {
            let stored = |_: &AuthId| stored.map(str::to_owned);
            assert_eq!(key(1).check_ticket(&ticket, stored, NOW), Err(TicketRefused::Ended));
        }
    }
}
