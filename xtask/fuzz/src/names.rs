//! Digests, filters, and every name that a request or a folder can hold.

use std::fmt::Display;
use std::str::FromStr;

use coldkeep_chunk_store::Digest;
use coldkeep_datastore::{
    ArchiveName, BackupId, BackupTime, BackupType, GroupFilter, GroupName, Namespace, Owner, RemoteName,
    SnapshotName, StoreName,
};

/// A name that parses is printed as a text that parses to the same name, and no name escapes its folder.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    round_trip::<Digest>(text);
    round_trip::<BackupTime>(text);
    round_trip::<BackupType>(text);
    round_trip::<Owner>(text);
    round_trip::<GroupName>(text);
    round_trip::<SnapshotName>(text);
    round_trip::<GroupFilter>(text);
    for component in [
        round_trip::<StoreName>(text),
        round_trip::<RemoteName>(text),
        round_trip::<BackupId>(text),
        round_trip::<ArchiveName>(text),
    ] {
        component.iter().for_each(|name| check_component(name));
    }
    if let Some(namespace) = round_trip::<Namespace>(text) {
        namespace.split('/').filter(|_| !namespace.is_empty()).for_each(check_component);
    }
}

fn round_trip<T: FromStr<Err: std::fmt::Debug> + Display + PartialEq + std::fmt::Debug>(
    text: &str,
) -> Option<String> {
    let name: T = text.parse().ok()?;
    let printed = name.to_string();
    assert_eq!(printed.parse::<T>().expect("a printed name parses"), name);
    Some(printed)
}

fn check_component(name: &str) {
    assert!(!name.is_empty() && !name.starts_with('.'));
    assert!(!name.contains(['/', '\\', '\0']) && !name.contains(char::is_whitespace));
}
