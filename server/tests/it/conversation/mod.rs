//! What a stock client says, played request by request from `conversation.md`, and what a stock server answers.
//!
//! | section | what | test |
//! |---|---|---|
//! | 1 | redirect of plain HTTP, page at `/`, `ping`, who needs credentials | `transport` |
//! | 1 | TLS, no ALPN though it is offered | `login::tls_negotiates_no_protocol` |
//! | 1 | one connection for login, calls and upgrade; `//`; head of requests and answers | [`Command`], used by all here |
//! | 1 | form encoding, `_` escaped in paths, bare `?` | `commands` |
//! | 1 | errors as plain text, 401 without a type | `login::errors_are_plain_text`, `contract::credentials` |
//! | 1 | delays | `transport::refusals_are_held_back`, `contract::credentials` |
//! | 1 | unknown parameters, limits of URI and body | `contract` |
//! | 2 | login, layout of ticket and CSRF token, form login, renewal, both spellings of the cookie, CSRF | `login` |
//! | 2 | API tokens, with a space and with `=`, on upgrades too | `login::a_token_needs_no_login` |
//! | 3 | each command | `commands`, a test each |
//! | 3 | task polling | `commands::garbage_collect`, `commands::task_list_log_and_stop` |
//! | 4 | directory backup, first and second; image; with key; signed | `backup` |
//! | 4 | benchmark | `backup_protocol::a_benchmark_leaves_nothing` |
//! | 4 | settings of HTTP/2 | `backup::the_server_announces_its_windows` |
//! | 4 | a session that is dropped | `backup::a_dropped_session_takes_its_new_group_along`, `backup_protocol` |
//! | 4 | "What the server insists on", line by line | `backup_protocol`, `bad_input`; owner and privilege also `authorisation` |
//! | 5 | restore, catalog dump, manifest, mount, map | `restore` |
//! | 5 | what a reader refuses | `reader_protocol` |
//! | 6 | bytes | `docs/vectors`, `backup_protocol::a_backup_comes_back_byte_for_byte` |
//! | 7 | roles | `authorisation` |
//! | 8 | figures of a collection | `rest::collection_is_a_task_that_is_polled` |
//!
//! Left out on purpose: `/api2/extjs`, which clients do not call; lists are sent with their length, not chunked, and the log
//! of a task with the type of all JSON, which clients do not tell apart; a second writer of the same index name is refused
//! (`backup_protocol::finish_wants_everything_in_place_and_comes_once` says why); `catalog` and `pxar-file-download` come with
//! the pxar format.

mod backup;
mod commands;
mod login;
mod restore;

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::harness::TestServer;
use crate::wire::{Answer, Auth, FORM, JSON, Line, Session, Wire};

const TIME: i64 = 1_700_000_000;
/// `S` of the specification.
const S: &str = "admin/datastore/default";
/// What form encoding leaves as it is, besides letters and digits.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// One run of the stock client: one connection from the login to the end.
struct Command {
    wire: Wire,
    line: Line,
}

impl Command {
    /// Logs in with a password.
    async fn of(server: &TestServer, user: &str, password: &str) -> Self {
        let nobody = Wire::nobody(server.address);
        let mut line = nobody.line().await;
        let body = json!({ "password": password, "username": user }).to_string();
        let answer =
            line.send(nobody.request(Method::POST, "//api2/json/access/ticket", JSON, body.into())).await;
        let data = checked(answer).data();
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        let auth = Auth::Ticket { ticket: text("ticket"), csrf: text("CSRFPreventionToken") };
        Self { wire: Wire { address: server.address, auth }, line }
    }

    /// `root@pam`.
    async fn root(server: &TestServer) -> Self {
        let wire = server.root().await;
        let line = wire.line().await;
        Self { wire, line }
    }

    /// A request without parameters, or with such in the query: no body.
    async fn ask(&mut self, method: Method, path: &str, query: &[(&str, &str)]) -> Answer {
        let mut path = format!("/api2/json/{path}");
        if !query.is_empty() {
            assert!(query.is_sorted(), "stock clients sort parameters: {query:?}");
            let pairs: Vec<String> =
                query.iter().map(|(name, text)| format!("{name}={}", form(text))).collect();
            path = format!("{path}?{}", pairs.join("&"));
        }
        self.send(self.wire.request(method, &path, FORM, Bytes::new())).await
    }

    async fn get(&mut self, path: &str, query: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, query).await
    }

    /// `POST` with parameters as JSON.
    async fn post(&mut self, path: &str, body: Value) -> Answer {
        let request =
            self.wire.request(Method::POST, &format!("/api2/json/{path}"), JSON, body.to_string().into());
        self.send(request).await
    }

    async fn send(&mut self, request: http::Request<http_body_util::Full<Bytes>>) -> Answer {
        checked(self.line.send(request).await)
    }

    /// The upgrade goes down the same connection.
    async fn upgrade(self, path: &str, protocol: &str) -> Result<Session, Answer> {
        self.line.upgrade(&self.wire, path, protocol).await
    }

    /// Polls the log of a task as the client does; returns its lines without their time, and the status.
    async fn follow(&mut self, upid: &str) -> (Vec<String>, Value) {
        let task = format!("nodes/localhost/tasks/{}", in_path(upid));
        let mut lines = Vec::new();
        loop {
            let start = (lines.len() + 1).to_string();
            let query = [("limit", "500"), ("start", &*start), ("test-status", "true")];
            let log = self.get(&format!("{task}/log"), &query).await.json();
            assert_eq!(log["success"], 1);
            let new = log["data"].as_array().unwrap();
            for line in new {
                assert_eq!(line["n"], lines.len() + 1, "a line is missing or comes twice");
                let text = line["t"].as_str().unwrap();
                assert_eq!((&text[10..11], &text[25..27]), ("T", ": "), "no time of 25 characters: {text}");
                lines.push(text[27..].to_owned());
            }
            let total = log["total"].as_u64().unwrap();
            // Fewer lines than asked for mean that there are no more yet.
            assert!(new.len() == 500 || lines.len() as u64 >= total, "{total} lines, {} given", lines.len());
            if !log["active"].as_bool().unwrap() && lines.len() as u64 >= total {
                break;
            }
            tokio::task::yield_now().await;
        }
        (lines, self.get(&format!("{task}/status"), &[]).await.data())
    }
}

/// Checks what all answers have in common.
#[track_caller]
fn checked(answer: Answer) -> Answer {
    assert!(answer.headers.contains_key("date"));
    let content_type = answer.headers.get("content-type").map(|value| value.to_str().unwrap());
    match answer.status.as_u16() {
        200 if content_type == Some("application/octet-stream") => {}
        200 => {
            assert_eq!(content_type, Some("application/json;charset=UTF-8"));
            assert!(answer.json().as_object().unwrap().contains_key("data"), "{}", answer.text());
        }
        401 => assert_eq!(content_type, None),
        _ => {
            assert_eq!(content_type, Some("application/json;charset=UTF-8"));
            let text = answer.text();
            assert!(!text.is_empty() && !text.starts_with('{'), "no plain text: {text}");
        }
    }
    answer
}

fn form(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string().replace("%20", "+")
}

/// A component of a path; the underscore is escaped, too.
fn in_path(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The three parameters that name a snapshot, in order.
fn triple<'t>(id: &'t str, time: &'t str) -> [(&'t str, &'t str); 3] {
    [("backup-id", id), ("backup-time", time), ("backup-type", "host")]
}
