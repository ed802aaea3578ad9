//! The contract of every endpoint, made from the server's own tables: what is missing, unknown, mistyped or out of range is
//! refused by name and changes nothing; credentials are asked for; paths and bodies are taken as rest-api.md §1 has it.

mod credentials;
mod faults;
mod params;
mod paths;
mod sessions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coldkeep_server::api::{BodyKind, Description, Kind, Param, Presence, description};
use serde_json::{Value, json};

use crate::ask::{Ask, Style, example};
use crate::harness::TestServer;
use crate::wire::{Answer, Line, Wire};
use faults::{Fault, faults_of};

/// Longest text that a query is given: three bytes each when encoded, beside the rest of the URI.
const QUERY_TEXT_BYTES_MAX: usize = 800;

fn is_variable(endpoint: &Description, param: &Param) -> bool {
    endpoint.path.contains(&format!("{{{}}}", param.name))
}

/// Everything below a folder with its content, but for the clock, which moves by itself, and logs, which tell of refusals.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == "log") {
                continue;
            }
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, Vec::new());
            } else if path.file_name().is_some_and(|name| name != "clock") {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Tells whether a parameter was refused.
fn is_bad_parameter(answer: &Answer) -> bool {
    answer.status == 400 && answer.text().starts_with("parameter '")
}
