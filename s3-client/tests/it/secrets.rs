//! Nothing that can end up in a log shows a secret.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use coldkeep_s3_client::testing::TestClock;
use coldkeep_s3_client::{Attempt, CallOptions, Client, Credentials, Observer, RetryPolicy, Signing};

use crate::scripted::*;

const SECRET_KEY: &str = "geheim-secret-key";
const TOKEN: &str = "fleeting-session-token";

/// Writes down everything that it is shown.
#[derive(Default)]
struct Notes(Mutex<String>);

impl Notes {
    fn show(&self, value: &impl Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}\n{value:#?}").unwrap();
    }

    fn show_error(&self, error: &(dyn Error + 'static)) {
        let mut link = Some(error);
        while let Some(error) = link {
            writeln!(self.0.lock().unwrap(), "{error} {error:?}").unwrap();
            link = error.source();
        }
    }
}

impl Observer for Notes {
    fn attempt(&self, attempt: &Attempt<'_>) {
        self.show(attempt);
        if let Some(failure) = attempt.failure {
            self.show_error(failure);
        }
    }
}

#[tokio::test]
async fn no_output_shows_a_secret_key_a_token_or_a_signature() {
    let notes = Arc::new(Notes::default());
    let credentials =
        || Credentials::new("AKIDEXAMPLE", SECRET_KEY).unwrap().with_session_token(TOKEN).unwrap();
    let builder = Client::builder(config()).with_credentials(credentials());
    notes.show(&builder);
    notes.show(&credentials());

    let steps: Vec<Step> = vec![
        answer(200).into(),
        Step::Broken,
        Step::Stall(31 * SECOND),
        Step::NotSent,
        refusal(403, "SignatureDoesNotMatch").into(),
        refusal(400, "ExpiredToken").into(),
        refusal(400, "ExpiredToken").into(),
        page(502).into(),
        answer(200).body("abc").header("content-length", "9").into(),
        answer(200).body("abc").header("content-length", "9").into(),
    ];
    let observer = notes.clone();
    let scene = Scene::built(config(), TestClock::skipping(25 * SECOND), steps, |builder| {
        builder.with_credentials(credentials()).with_observer(observer)
    });
    let once = CallOptions::new().with_retry(RetryPolicy::never());
    let presigned =
        once.clone().with_signing(Signing::Presigned { signed_at: start(), expires_in: 300 * SECOND });
    notes.show(&scene.client.send(&put()).await.unwrap());
    for options in [&once, &presigned, &presigned, &once, &once, &presigned] {
        let error = scene.client.send_with(&put(), options).await.unwrap_err();
        notes.show_error(&error);
        notes.show(&error);
    }
    let error = scene.client.send_with(&get(), &once).await.unwrap_err();
    notes.show_error(&error);
    let mut stream = scene.client.stream(&get()).await.unwrap();
    notes.show(&stream);
    while let Ok(Some(_)) = stream.value.next().await {}
    let link = scene.client.presign(&get(), start(), 60 * SECOND).await.unwrap();
    notes.show(&link);
    notes.show(&scene.client);
    notes.show(&scene.client.stats());
    notes.show(&presigned);
    notes.show(&put());

    // Header maps keep what is marked as sensitive to themselves.
    let requests = scene.script.requests();
    for seen in &requests {
        notes.show(&seen.headers);
    }

    let mut secrets = vec![SECRET_KEY.to_owned(), TOKEN.to_owned()];
    secrets.push(link.url.rsplit_once("X-Amz-Signature=").unwrap().1.to_owned());
    for seen in &requests {
        let place = seen.header("authorization").unwrap_or(&seen.uri);
        let signature = place.split("ignature=").nth(1).unwrap();
        secrets.push(signature.split('&').next().unwrap().to_owned());
    }
    assert_eq!((requests.len(), secrets.len()), (10, 13));
    let notes = notes.0.lock().unwrap();
    assert!(notes.contains("AKIDEXAMPLE") && notes.contains("AccessDenied"));
    for secret in secrets {
        assert!(!notes.contains(&secret), "{secret} in {notes}");
    }
}
