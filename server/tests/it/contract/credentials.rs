//! Credentials: none, bad ones, and those that lack their CSRF token.

use std::time::{Duration, Instant};

use coldkeep_server::Limits;
use coldkeep_server::api::Access;

use super::{Ask, Style, TestServer, Wire, content, description};
use crate::harness::limits;
use crate::wire::Auth;

/// Goal: nothing happens without good credentials, and nothing is told. Method: `root@pam`'s requests, with credentials that are
/// missing, forged or incomplete, to each endpoint and to one that does not exist.
#[tokio::test]
async fn every_endpoint_but_the_open_ones_wants_good_credentials() {
    let server = TestServer::start().await;
    let root = server.root().await;
    let Auth::Ticket { ticket, csrf } = root.auth.clone() else { panic!("no ticket") };
    let ticket_with =
        |ticket: &str, csrf: &str| Auth::Ticket { ticket: ticket.to_owned(), csrf: csrf.to_owned() };
    let failed = "authentication failed";
    // Each endpoint gets a token of its own: what is guessed of one too often may have to wait.
    let bad = |number: usize| {
        [
            (Auth::Nobody, failed),
            (ticket_with("PBS:root@pam:6553F100::AAAA", &csrf), failed),
            (ticket_with(&ticket.replace("root", "boot"), &csrf), failed),
            (Auth::Token(format!("root@pam!none{number}:00000000-0000-0000-0000-000000000000")), failed),
            (Auth::Token("nonsense".to_owned()), failed),
            (ticket_with(&ticket, "6553F100:AAAA"), "CSRF"),
        ]
    };
    let before = content(server.folder());
    let mut line = root.line().await;
    let endpoints = description::rest().into_iter().filter(|one| one.access != Access::Anyone);
    for (number, endpoint) in endpoints.enumerate() {
        let is_get = endpoint.method.as_str() == "GET";
        for (auth, named) in bad(number).into_iter().filter(|(_, named)| !is_get || *named == failed) {
            let wire = Wire { address: server.address, auth };
            let answer = line.send(Ask::required(&endpoint).request(&wire, Style::stock(&endpoint))).await;
            answer.refused(401, named);
            assert!(!answer.headers.contains_key("content-type"), "{endpoint:?}");
        }
    }
    Wire::nobody(server.address).get("/api2/json/nosuch").await.refused(401, failed);
    assert!(content(server.folder()) == before, "something was changed");
}

#[tokio::test]
async fn refusals_for_lack_of_privileges_are_held_back_too_and_others_are_not() {
    // As stock servers, by default.
    let default = Limits::default();
    assert_eq!(default.unauthorized_delay, Duration::from_secs(3));
    assert_eq!(default.forbidden_delay, Duration::from_millis(500));
    let mut limits = limits();
    limits.forbidden_delay = Duration::from_millis(300);
    limits.unauthorized_delay = Duration::from_mins(5);
    let server = TestServer::start_with(limits).await;
    let nobody = server.user("no@pbs", "NoAccess").await;
    let start = Instant::now();
    nobody.get("/api2/json/admin/datastore/default/groups").await.refused(403, "/datastore/default");
    assert!(start.elapsed() >= Duration::from_millis(300));
    nobody.get("/api2/json/version?nosuch=1").await.refused(400, "nosuch");
    nobody.get("/api2/json/nosuch").await.refused(404, "nosuch");
}
