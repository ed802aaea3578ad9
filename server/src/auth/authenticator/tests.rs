use std::time::Duration;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::testing::ManualClock;
use http::Request;
use http::header::COOKIE;

use super::*;
use crate::auth::{PasswordHasher, TICKET_KEY_BYTES};
use crate::state::DataDir;

struct Fixture {
    authenticator: Authenticator,
    identities: Arc<Identities>,
    clock: Arc<ManualClock>,
    _data_dir: DataDir,
    _folder: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(folder.path()).unwrap();
    let identities = Arc::new(Identities::open(&data_dir, PasswordHasher::new()).unwrap());
    identities.add_user(user(), secret("password"), None).await.unwrap();
    let clock = Arc::new(ManualClock::at(StoreTime::from_unix(1_700_000_000, 0)));
    let key = TicketKey::new(Zeroizing::new([7; TICKET_KEY_BYTES]));
    let limits =
        LoginLimits { failures_per_user_and_address: 2, failures_per_address: 4, ..LoginLimits::default() };
    let authenticator = Authenticator::new(Arc::clone(&identities), key, limits, clock.clone()).unwrap();
    Fixture { authenticator, identities, clock, _data_dir: data_dir, _folder: folder }
}

fn user() -> AuthId {
    "al@pbs".parse().unwrap()
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

impl Fixture {
    async fn log_in(&self, user: &AuthId, password: Zeroizing<String>) -> Result<Login, ApiError> {
        self.authenticator.log_in(user, password, None).await
    }

    async fn log_in_from(&self, peer: &str, password: &str) -> Result<Login, ApiError> {
        self.authenticator.log_in(&user(), secret(password), Some(peer.parse().unwrap())).await
    }

    /// As [`admit`](Self::admit), with a token from some address.
    async fn admit_token(&self, peer: &str, token: &str) -> bool {
        let request = Request::get("/").header("authorization", format!("PBSAPIToken={token}"));
        let (head, ()) = request.body(()).unwrap().into_parts();
        self.authenticator.admit(&head, Some(peer.parse().unwrap())).await.is_ok()
    }

    /// Returns who a request with these headers is from, or the status and message of the refusal.
    async fn admit(&self, method: &str, headers: &[(&str, &str)]) -> Result<String, (u16, String)> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        match self.authenticator.admit(&head, None).await {
            Ok(caller) => Ok(caller.auth_id().to_string()),
            Err(error) => Err((error.status().as_u16(), error.message().to_owned())),
        }
    }
}

#[tokio::test]
async fn a_ticket_is_good_for_two_hours_and_can_be_renewed() {
    let fixture = fixture().await;
    let login = fixture.log_in(&user(), secret("password")).await.unwrap();
    let cookie = format!("PBSAuthCookie={}", login.ticket);
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap(), "al@pbs");
    fixture.clock.advance(Duration::from_hours(2));
    let renewed = fixture.log_in(&user(), secret(&login.ticket)).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap_err().0, 401);
    let cookie = format!("PBSAuthCookie={}", renewed.ticket);
    assert!(fixture.admit("GET", &[("cookie", &cookie)]).await.is_ok());
    assert!(fixture.log_in(&user(), secret(&login.ticket)).await.is_err());
    fixture.identities.set_validity(&user(), false, None).await.unwrap();
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap_err().0, 401);
    assert!(fixture.log_in(&user(), secret(&renewed.ticket)).await.is_err());
}

#[tokio::test]
async fn a_new_password_ends_tickets_and_so_does_a_new_user_of_that_name() {
    let fixture = fixture().await;
    let login = fixture.log_in(&user(), secret("password")).await.unwrap();
    let cookie = |login: &Login| format!("PBSAuthCookie={}", login.ticket);
    assert!(fixture.admit("GET", &[("cookie", &cookie(&login))]).await.is_ok());
    fixture.identities.set_password(&user(), secret("another one")).await.unwrap();
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie(&login))]).await.unwrap_err().0, 401);
    assert!(fixture.log_in(&user(), secret(&login.ticket)).await.is_err());
    // Whoever renews what was good once does not guess: nothing is counted.
    for _ in 0..20 {
        assert!(fixture.log_in_from("10.0.0.1", &login.ticket).await.is_err());
    }
    assert!(fixture.log_in_from("10.0.0.1", "another one").await.is_ok());
    // In the same second.
    let login = fixture.log_in(&user(), secret("another one")).await.unwrap();
    assert!(fixture.admit("GET", &[("cookie", &cookie(&login))]).await.is_ok());
    fixture.identities.remove_user(&user()).await.unwrap();
    fixture.identities.add_user(user(), secret("another one"), None).await.unwrap();
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie(&login))]).await.unwrap_err().0, 401);
}

#[tokio::test]
async fn percent_encoded_cookies_are_taken() {
    let fixture = fixture().await;
    let login = fixture.log_in(&user(), secret("password")).await.unwrap();
    let encoded = percent_encoding::utf8_percent_encode(&login.ticket, percent_encoding::NON_ALPHANUMERIC);
    assert!(fixture.admit("GET", &[(COOKIE.as_str(), &format!("PBSAuthCookie={encoded}"))]).await.is_ok());
}

#[tokio::test]
async fn everything_but_get_needs_the_csrf_token() {
    let fixture = fixture().await;
    let login = fixture.log_in(&user(), secret("password")).await.unwrap();
    let cookie = format!("PBSAuthCookie={}", login.ticket);
    for method in ["POST", "PUT", "DELETE"] {
        let (status, message) = fixture.admit(method, &[("cookie", &cookie)]).await.unwrap_err();
        assert!(status == 401 && message.contains("missing CSRF"), "{message}");
        let wrong = [("cookie", &*cookie), ("CSRFPreventionToken", "6553F100:x")];
        assert_eq!(fixture.admit(method, &wrong).await.unwrap_err().0, 401);
        let right = [("cookie", &*cookie), ("CSRFPreventionToken", &login.csrf_token)];
        assert!(fixture.admit(method, &right).await.is_ok());
    }
}

#[tokio::test]
async fn wrong_passwords_and_unknown_users_look_the_same() {
    let fixture = fixture().await;
    let wrong = fixture.log_in(&user(), secret("passwore")).await.unwrap_err();
    let unknown = fixture.log_in(&"bo@pbs".parse().unwrap(), secret("password")).await.unwrap_err();
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.status(), 401);
    assert_eq!(fixture.admit("GET", &[]).await.unwrap_err().0, 401);
    assert_eq!(
        fixture.admit("GET", &[("cookie", "PBSAuthCookie=PBS:al@pbs:6553F100::AAAA")]).await.unwrap_err().0,
        401
    );
}

#[tokio::test]
async fn tokens_work_with_either_separator_until_they_are_removed() {
    let fixture = fixture().await;
    let token: AuthId = "al@pbs!tok".parse().unwrap();
    let text = fixture.identities.add_token(token.clone(), None).await.unwrap();
    let encoded = text.replace('-', "%2D");
    for header in [format!("PBSAPIToken={token}:{}", *text), format!("PBSAPIToken {token}:{encoded}")] {
        for _ in 0..2 {
            assert_eq!(fixture.admit("POST", &[("authorization", &header)]).await.unwrap(), "al@pbs!tok");
        }
    }
    let wrong = format!("PBSAPIToken={token}:{}x", *text);
    for header in [
        &*wrong,
        "PBSAPIToken",
        "PBSAPIToken=",
        "PBSAPIToken=al@pbs!tok",
        "Basic abc",
        "PBSAPIToken=al@pbs:password",
    ] {
        assert_eq!(fixture.admit("GET", &[("authorization", header)]).await.unwrap_err().0, 401, "{header}");
    }
    fixture.identities.remove_token(&token).await.unwrap();
    let header = format!("PBSAPIToken={token}:{}", *text);
    assert_eq!(fixture.admit("GET", &[("authorization", &header)]).await.unwrap_err().0, 401);
}

#[tokio::test]
async fn guessed_passwords_stop_being_looked_at_and_renewals_and_other_addresses_go_on() {
    let fixture = fixture().await;
    let ticket = fixture.log_in_from("10.0.0.1", "password").await.unwrap().ticket;
    let wrong = fixture.log_in_from("10.0.0.1", "passwore").await.unwrap_err();
    fixture.log_in_from("10.0.0.1", "passwore").await.unwrap_err();
    // Refused like any other, although it is right.
    assert_eq!(fixture.log_in_from("10.0.0.1", "password").await.unwrap_err(), wrong);
    assert!(fixture.log_in_from("10.0.0.1", &ticket).await.is_ok(), "a renewal was refused");
    assert!(fixture.log_in_from("10.0.0.2", "password").await.is_ok(), "the user was locked out");
    fixture.clock.advance(Duration::from_mins(5));
    assert!(fixture.log_in_from("10.0.0.1", "password").await.is_ok());
    // A ticket that is too old is no guess.
    fixture.clock.advance(Duration::from_hours(2));
    for _ in 0..5 {
        assert_eq!(fixture.log_in_from("10.0.0.1", &ticket).await.unwrap_err(), wrong);
    }
    assert!(fixture.log_in_from("10.0.0.1", "password").await.is_ok());
}

#[tokio::test]
async fn guessed_token_secrets_stop_being_looked_at_and_known_ones_go_on() {
    let fixture = fixture().await;
    let token = |name: &str| name.parse::<AuthId>().unwrap();
    let known = fixture.identities.add_token(token("al@pbs!known"), None).await.unwrap();
    let fresh = fixture.identities.add_token(token("al@pbs!fresh"), None).await.unwrap();
    let known = format!("al@pbs!known:{}", *known);
    assert!(fixture.admit_token("10.0.0.1", &known).await);
    for guess in ["al@pbs!fresh:a", "al@pbs!fresh:b"] {
        assert!(!fixture.admit_token("10.0.0.1", guess).await);
    }
    let fresh = format!("al@pbs!fresh:{}", *fresh);
    assert!(!fixture.admit_token("10.0.0.1", &fresh).await, "it was looked at");
    assert!(fixture.admit_token("10.0.0.2", &fresh).await);
    for guess in ["al@pbs!x:a", "al@pbs!x:b", "al@pbs!x:c"] {
        assert!(!fixture.admit_token("10.0.0.1", guess).await);
    }
    assert!(fixture.log_in_from("10.0.0.1", "password").await.is_err(), "the address goes on");
    assert!(fixture.admit_token("10.0.0.1", &known).await, "a client that works was stopped");
}
