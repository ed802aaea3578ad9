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
    let authenticator = Authenticator::new(Arc::clone(&identities), key, clock.clone()).unwrap();
    Fixture { authenticator, identities, clock, _data_dir: data_dir, _folder: folder }
}

fn user() -> AuthId {
    "al@pbs".parse().unwrap()
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

impl Fixture {
    /// Returns who a request with these headers is from, or the status and message of the refusal.
    async fn admit(&self, method: &str, headers: &[(&str, &str)]) -> Result<String, (u16, String)> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        match self.authenticator.admit(&head).await {
            Ok(caller) => Ok(caller.auth_id().to_string()),
            Err(error) => Err((error.status().as_u16(), error.message().to_owned())),
        }
    }
}

#[tokio::test]
async fn a_ticket_is_good_for_two_hours_and_can_be_renewed() {
    let fixture = fixture().await;
    let login = fixture.authenticator.log_in(&user(), secret("password")).await.unwrap();
    let cookie = format!("PBSAuthCookie={}", login.ticket);
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap(), "al@pbs");
    fixture.clock.advance(Duration::from_hours(2));
    let renewed = fixture.authenticator.log_in(&user(), secret(&login.ticket)).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap_err().0, 401);
    let cookie = format!("PBSAuthCookie={}", renewed.ticket);
    assert!(fixture.admit("GET", &[("cookie", &cookie)]).await.is_ok());
    assert!(fixture.authenticator.log_in(&user(), secret(&login.ticket)).await.is_err());
    fixture.identities.set_validity(&user(), false, None).await.unwrap();
    assert_eq!(fixture.admit("GET", &[("cookie", &cookie)]).await.unwrap_err().0, 401);
    assert!(fixture.authenticator.log_in(&user(), secret(&renewed.ticket)).await.is_err());
}

#[tokio::test]
async fn percent_encoded_cookies_are_taken() {
    let fixture = fixture().await;
    let login = fixture.authenticator.log_in(&user(), secret("password")).await.unwrap();
    let encoded = percent_encoding::utf8_percent_encode(&login.ticket, percent_encoding::NON_ALPHANUMERIC);
    assert!(fixture.admit("GET", &[(COOKIE.as_str(), &format!("PBSAuthCookie={encoded}"))]).await.is_ok());
}

#[tokio::test]
async fn everything_but_get_needs_the_csrf_token() {
    let fixture = fixture().await;
    let login = fixture.authenticator.log_in(&user(), secret("password")).await.unwrap();
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
    let wrong = fixture.authenticator.log_in(&user(), secret("passwore")).await.unwrap_err();
    let unknown =
        fixture.authenticator.log_in(&"bo@pbs".parse().unwrap(), secret("password")).await.unwrap_err();
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
