//! What the client reads: answers of servers, and names that its user or its environment gives.

use std::ffi::OsStr;
use std::fmt::{Debug, Display};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use coldkeep_client::{
    AuthId, BackupItem, Fingerprint, REPOSITORY_CHARS_MAX, Repository, RequestError, fuzzing, server_name,
};
use http::StatusCode;

/// Answers become values that are not much larger than they are, and a refusal is told in text without control characters.
pub fn check_answer(input: &[u8]) {
    for shown in fuzzing::answers(input).into_iter().flatten() {
        assert!(shown.len() <= 4096 + 1024 * input.len());
    }
    if let Ok(log) = fuzzing::task_log(input) {
        assert!(log.lines.iter().all(|line| line.t.ends_with(line.message())));
    }
    let RequestError::Refused { message, .. } = fuzzing::refusal(StatusCode::BAD_REQUEST, input) else {
        panic!("a refusal is one");
    };
    assert!(!message.is_empty() && !message.contains(|char: char| char.is_control() && char != '\n'));
    assert!(message.len() <= 64 + 3 * input.len());
}

/// A name that parses is printed as a text that parses to the same name.
pub fn check_names(input: &[u8]) {
    if let Ok(item) = BackupItem::parse(OsStr::from_bytes(input)) {
        let name = item.archive.as_str();
        assert_eq!(server_name(name).expect("a name of the server stays as it is").as_str(), name);
        assert!(input.ends_with(item.path.as_os_str().as_bytes()) && !item.path.as_os_str().is_empty());
    }
    let Ok(text) = str::from_utf8(input) else { return };
    round_trip::<AuthId>(text);
    round_trip::<Fingerprint>(text);
    if let Ok(repository) = text.parse::<Repository>() {
        assert!(repository.port > 0 && !repository.host.is_empty());
        let shown = repository.to_string();
        // What was left out is shown, which may be more than may be written.
        if shown.chars().count() <= REPOSITORY_CHARS_MAX {
            assert_eq!(shown.parse(), Ok(repository));
        }
    }
}

fn round_trip<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) {
    let Ok(name) = text.parse::<T>() else { return };
    assert_eq!(name.to_string().parse::<T>().expect("a printed name parses"), name);
}
