//! The reference page of the API, `docs/API.md`, is made from the server's tables.

use std::fmt::Write;

use coldkeep_server::api::{Access, BodyKind, Description, Kind, LIST_LEN_MAX, Param, Presence, description};
use coldkeep_server::auth::Privileges;

/// Set it to write the page anew.
const VARIABLE: &str = "COLDKEEP_WRITE_REFERENCE";

const INTRODUCTION: &str = "\
# API

<!-- Made from the tables of the server. After a change of these:
     COLDKEEP_WRITE_REFERENCE=1 cargo test -p coldkeep-server --test it reference -->

Every endpoint of the server with its parameters. Requests that have any other parameter, or lack one that is required, are answered
400 with its name; the order of the parameters does not matter.

- Parameters stand in the query or in a form as the body, which are merged, or in a JSON object as the body, beside which the query
  does not count; path and query together have at most 3072 bytes, such bodies less than 512 KiB. A list is a JSON array, or the same
  key several times. Booleans are `true`, `1`, `on`, `yes` or `false`, `0`, `off`, `no`.
- Answers are `{\"data\": …}`; refusals are plain text. 400 is nearly everything; 401 missing or wrong credentials, held back for three
  seconds; 403 a missing privilege, held back for half a second; 404 an unknown path or method; 414 a URI that is too long.
- Credentials are the cookie `PBSAuthCookie` with a ticket of `POST /access/ticket`, and with it the header `CSRFPreventionToken` for
  everything but GET, or the header `Authorization: PBSAPIToken USER@REALM!NAME:SECRET`.
- What is refused for lack of a privilege is refused before anything is looked up, so that it does not tell what exists.
";

/// Title, introduction and endpoints of each part.
fn parts() -> [(&'static str, &'static str, Vec<Description>); 3] {
    let mut rest = description::rest();
    rest.sort_by_key(|one| (one.path, one.method.as_str()));
    [
        ("REST", "Paths are below `/api2/json`.", rest),
        (
            "Backup sessions",
            "HTTP/2 after `GET /api2/json/backup`; paths stand alone. Nothing is authenticated again.",
            description::backup_session(),
        ),
        (
            "Reader sessions",
            "HTTP/2 after `GET /api2/json/reader`; paths stand alone. Nothing is authenticated again.",
            description::reader_session(),
        ),
    ]
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, introduction, endpoints) in parts() {
        write!(page, "\n## {title}\n\n{introduction}\n").unwrap();
        for endpoint in &endpoints {
            write_endpoint(&mut page, endpoint);
        }
    }
    page
}

fn write_endpoint(page: &mut String, endpoint: &Description) {
    write!(page, "\n### `{endpoint:?}`\n\n{}\n", endpoint.doc).unwrap();
    let mut notes = vec![callers(endpoint.access), body(endpoint.body)];
    notes.retain(|note| !note.is_empty());
    if !notes.is_empty() {
        write!(page, "\n{}\n", notes.join(" ")).unwrap();
    }
    if !endpoint.params.is_empty() {
        page.push_str("\n| parameter | type | if absent | |\n|---|---|---|---|\n");
    }
    for Param { name, kind, presence, doc, .. } in endpoint.params {
        let absent = match presence {
            Presence::Required => "refused".to_owned(),
            Presence::Optional => "–".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
        };
        let cells = [format!("`{name}`"), type_of(kind), absent, (*doc).to_owned()];
        writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
    }
}

fn callers(access: Access) -> String {
    let any_of = |privileges: Privileges| {
        privileges.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
    };
    let on_store = "on the namespace of the datastore";
    match access {
        Access::Anyone => "Open to everyone, without credentials.".to_owned(),
        Access::Authenticated => "For every user and token, within what is said above.".to_owned(),
        Access::Datastore { full, own } if own.is_empty() => format!("Needs {} {on_store}.", any_of(full)),
        Access::Datastore { full, own } if full.is_empty() => {
            format!("Needs {} {on_store}, and is for one's own groups only.", any_of(own))
        }
        Access::Datastore { full, own } => {
            format!(
                "Needs {} {on_store}; for one's own groups, {} there suffices.",
                any_of(full),
                any_of(own)
            )
        }
        Access::Remote { any } => format!("Needs {} on the remote.", any_of(any)),
        Access::At { path, any } => format!("Needs {} on `{path}`.", any_of(any)),
        Access::User { others } => {
            format!(
                "For the user themselves, but no token of theirs; for others, needs {} on `/access/users`.",
                any_of(others)
            )
        }
        Access::Session => String::new(),
    }
}

fn body(body: BodyKind) -> String {
    match body {
        BodyKind::Params => String::new(),
        BodyKind::Upload { bytes_max } => {
            format!("The body is data of at most {bytes_max} bytes; parameters stand in the query.")
        }
        BodyKind::Upgrade { protocol } => format!("Wants the header `Upgrade: {protocol}`."),
    }
}

fn type_of(kind: &Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer { min, max: i64::MAX } => format!("integer, at least {min}"),
        Kind::Integer { min, max } => format!("integer, {min} to {max}"),
        Kind::Text { bytes_max } => format!("text, at most {bytes_max} bytes"),
        Kind::Name(name) => name.what.to_owned(),
        Kind::List(of) => format!("list of at most {LIST_LEN_MAX}: {}", type_of(of)),
    }
}

#[test]
fn the_reference_page_says_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/API.md");
    let page = page();
    if std::env::var_os(VARIABLE).is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    let is_same = written == page;
    assert!(
        is_same,
        "docs/API.md is not what the tables say, from {differs:?} on; set {VARIABLE}=1 to write it anew"
    );
}
