//! What a server reads beside requests: names, proofs of who calls, the list of tasks, and the files of its data folder.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, PoisonError};

use coldkeep_s3_client::Credentials;
use coldkeep_server::auth::{
    self, AclPath, AuthId, PASSWORD_BYTES_MAX, PasswordHasher, Role, TICKET_KEY_BYTES, TicketKey,
};
use coldkeep_server::bucket::{self, Prefix};
use coldkeep_server::config::{self, Config};
use coldkeep_server::jobs::{Jobs, WebhookUrl};
use coldkeep_server::schedule::CalendarEvent;
use coldkeep_server::state::{
    self, DataDir, Identities, RemoteHost, Remotes, StateError, StoreConfig, load_certificate,
};
use coldkeep_server::tasks::{self, TASKS_KEPT, Upid};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use zeroize::Zeroizing;

use crate::folder::Folder;

const NOW: i64 = 1_700_000_000;

/// A name that parses is printed as a text that parses to the same name, and a task's log stays in its folder.
pub fn check_names(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    round_trip::<AclPath>(text);
    round_trip::<Role>(text);
    round_trip::<Prefix>(text);
    round_trip::<WebhookUrl>(text);
    if let Some(upid) = round_trip::<Upid>(text) {
        let folder = Path::new("tasks");
        let path = tasks::fuzzing::log_path(folder, &upid);
        let name = path.strip_prefix(folder.join("log")).expect("logs have a folder of their own");
        let is_plain = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        assert!(name.to_str().expect("a plain name").bytes().all(is_plain), "{name:?}");
    }
}

/// A calendar event is shown as it was written, and its times come one after the other, in any zone.
pub fn check_calendar(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some(event) = round_trip::<CalendarEvent>(text) else { return };
    assert_eq!(event.to_string(), text);
    for zone in ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"] {
        let zone = TimeZone::posix(zone).expect("the zone is well-formed");
        // Shortly before the clocks of the second zone are changed.
        for start in [NOW, 1_711_843_200, 1_729_987_200] {
            let mut after = Timestamp::from_second(start).expect("it is a time");
            for _ in 0..3 {
                let Some(next) = event.next_after(after, &zone) else { break };
                assert!(next > after && next.subsec_nanosecond() == 0, "{next} does not follow {after}");
                // Nothing was left out between.
                let between = Timestamp::from_second(next.as_second() - 1).expect("it is a time");
                assert_eq!(event.next_after(between.max(after), &zone), Some(next));
                after = next;
            }
        }
    }
}

fn round_trip<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let name: T = text.parse().ok()?;
    assert_eq!(name.to_string().parse::<T>().expect("a printed name parses"), name);
    Some(name)
}

/// A configuration is taken or refused with lines that are there, and what is in force can be read again.
pub fn check_config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let path = Path::new("/etc/coldkeep.toml");
    match Config::parse(text, path) {
        Ok(config) => {
            let again = Config::parse(&config::effective(&config), path).expect("what is in force is right");
            assert_eq!(again, config);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// No ticket is taken that the server did not sign, every one that it signed is, and a stored hash asks for bounded work.
pub fn check_proofs(input: &[u8]) {
    let key = TicketKey::new(Zeroizing::new([7; TICKET_KEY_BYTES]));
    let stored = |_: &AuthId| Some("hash".to_owned());
    if let Ok(value) = HeaderValue::from_bytes(input) {
        check_api_token(value.clone());
        let tickets = tickets(value);
        assert!(tickets.len() <= 2);
        for ticket in tickets {
            key.check_ticket(&ticket, stored, NOW).expect_err("nobody signed this");
        }
    }
    let Ok(text) = str::from_utf8(input) else { return };
    key.check_ticket(text, stored, NOW).expect_err("nobody signed this");
    key.check_csrf_token(text, &auth::root(), NOW).expect_err("nobody signed this");
    if let Some((memory_kib, passes, lanes)) = auth::fuzzing::password_cost(text) {
        assert!(memory_kib <= 1 << 20 && passes <= 16 && lanes <= 4);
    }
    let Ok(user) = text.parse::<AuthId>() else { return };
    let cookie = format!("a=b; PBSAuthCookie={}; c", key.ticket(&user, "hash", NOW));
    let tickets = tickets(HeaderValue::from_str(&cookie).expect("a ticket fits into a header"));
    assert!(
        tickets.iter().any(|ticket| key.check_ticket(ticket, stored, NOW).as_ref() == Ok(&user)),
        "{cookie}"
    );
    let token = key.csrf_token(&user, NOW);
    key.check_csrf_token(&token, &user, NOW).expect("it was signed for this user");
}

/// A token that a header shows has a bounded secret, and is read again from how a client would write it.
fn check_api_token(value: HeaderValue) {
    let shown = |value| auth::fuzzing::api_token_of(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
    let Some((id, secret)) = shown(value) else { return };
    assert!(secret.len() <= PASSWORD_BYTES_MAX);
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let again = HeaderValue::from_str(&format!("PBSAPIToken={id}:{escaped}")).expect("it fits into a header");
    assert_eq!(shown(again), Some((id, secret)));
}

fn tickets(cookies: HeaderValue) -> Vec<String> {
    auth::fuzzing::tickets_of(&HeaderMap::from_iter([(COOKIE, cookies)]))
}

/// The list of tasks names each once and stays the same over restarts; a log is the same in parts and as a whole.
pub fn check_tasks(input: &[u8]) {
    let known = tasks::fuzzing::list(input, NOW).expect("memory can be read");
    assert!(known.len() <= input.split(|byte| *byte == b'\n').count());
    assert_eq!(known.iter().map(|(upid, _)| upid).collect::<BTreeSet<_>>().len(), known.len());

    let folder = Folder::of_process();
    fs::write(folder.path().join("list"), input).expect("the folder can be written");
    for _ in 0..2 {
        let opened = tasks::fuzzing::open(folder.path(), NOW).expect("the folder can be used");
        assert_eq!(opened, known[known.len().saturating_sub(TASKS_KEPT)..]);
    }

    let path = folder.write("log-file", input);
    let read = |start, limit| tasks::fuzzing::log(&path, start, limit).expect("the log can be read");
    let whole = read(0, 0);
    assert_eq!(whole.total, whole.lines.len() as u64);
    let parts = [read(1, 1), read(2, 3), read(5, u64::MAX)];
    let parts = parts.iter().flat_map(|part| &part.lines).map(|line| (line.n, line.t.as_str()));
    assert!(parts.eq(whole.lines.iter().map(|line| (line.n, line.t.as_str()))));
}

/// A data folder that lives as long as the process.
static DATA_DIR: LazyLock<Mutex<DataDir>> = LazyLock::new(|| {
    let folder = Folder::of_process().path().join("data");
    Mutex::new(DataDir::open(&folder).expect("the folder can be used"))
});

/// The first byte chooses a file, the rest is its content. Whether it is taken or refused, it is left as it is.
pub fn check_files(input: &[u8]) {
    let Some((choice, content)) = input.split_first() else { return };
    let data_dir = DATA_DIR.lock().unwrap_or_else(PoisonError::into_inner);
    match choice {
        b'u' => check_identity_file(&data_dir, "users.json", content),
        b't' => check_identity_file(&data_dir, "tokens.json", content),
        b'a' => check_identity_file(&data_dir, "acl.json", content),
        b's' => check_stores(content),
        b'r' => check_remotes(&data_dir, content),
        b'j' => check_jobs(&data_dir, content),
        b'c' => {
            let path = state::fuzzing::secret_path(&data_dir, "s3-tank.json");
            check_unchanged(&path, content, || drop(bucket::fuzzing::credentials(&path)));
        }
        b'k' => {
            let path = state::fuzzing::secret_path(&data_dir, "ticket.key");
            check_unchanged(&path, content, || drop(state::fuzzing::ticket_key(&data_dir)));
        }
        b'p' => {
            let [chain, key] =
                ["tls.pem", "tls.key"].map(|name| state::fuzzing::secret_path(&data_dir, name));
            fs::write(key, content).expect("it can be written");
            check_unchanged(&chain, content, || match load_certificate(&data_dir, &[]) {
                Ok(certificate) => assert!(!certificate.chain.is_empty()),
                Err(error) => assert!(matches!(error, StateError::Key { .. }), "{error}"),
            });
        }
        _ => {}
    }
}

/// Writes a file and has it read.
fn check_unchanged(path: &Path, content: &[u8], read: impl Fn()) {
    fs::write(path, content).expect("it can be written");
    read();
    assert_eq!(fs::read(path).expect("it is still there"), content, "reading changed {path:?}");
}

fn check_identity_file(data_dir: &DataDir, name: &str, content: &[u8]) {
    let path = state::fuzzing::config_path(data_dir, name);
    check_unchanged(&path, content, || {
        if let Ok(identities) = Identities::open(data_dir, PasswordHasher::new()) {
            check_identities(&identities);
        }
    });
    // The three are read together, and the next input is about another one.
    fs::remove_file(path).expect("it was just read");
}

fn check_remotes(data_dir: &DataDir, content: &[u8]) {
    let path = state::fuzzing::config_path(data_dir, "remotes.json");
    check_unchanged(&path, content, || match Remotes::open(data_dir) {
        Ok(remotes) => {
            for remote in remotes.list() {
                let host = remote.host.to_string();
                assert_eq!(host.parse::<RemoteHost>().expect("a printed host parses"), remote.host);
                drop(remote.client());
            }
        }
        Err(error) => assert!(matches!(error, StateError::MalformedSecrets { .. }), "{error}"),
    });
}

fn check_jobs(data_dir: &DataDir, content: &[u8]) {
    let path = state::fuzzing::config_path(data_dir, "jobs.json");
    check_unchanged(&path, content, || match Jobs::open(data_dir) {
        Ok(jobs) => {
            for job in jobs.list() {
                assert_eq!(jobs.get(&job.id).expect("it is listed"), job);
            }
        }
        Err(error) => {
            let is_told = matches!(error, StateError::MalformedSecrets { .. } | StateError::Job { .. });
            assert!(is_told, "{error}");
        }
    });
}

fn check_identities(identities: &Identities) {
    for user in identities.users() {
        user.is_active(NOW);
        identities.acl().paths_of(&user.user);
    }
    identities.tokens();
}

/// What is told of a store in a bucket follows from its entry without a panic.
fn check_stores(content: &[u8]) {
    let Ok(list) = serde_json::from_slice::<Vec<StoreConfig>>(content) else { return };
    let written = serde_json::to_vec(&list).expect("the list has a JSON form");
    assert_eq!(serde_json::from_slice::<Vec<StoreConfig>>(&written).expect("it is read"), list);
    for bucket in list.iter().filter_map(StoreConfig::bucket) {
        let lifetimes = bucket.lifetimes();
        assert!(lifetimes.longest() >= lifetimes.delete);
        bucket.lifetime_exceeded();
        bucket.swaps_atomically();
        bucket.caveats();
        let credentials = Credentials::new("AKID", "secret").expect("both are well-formed");
        // Parts that do not fit together are an error.
        let _ = bucket.client_config(credentials);
    }
}
