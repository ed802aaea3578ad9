//! Task identifiers as stock clients know them (rest-api.md 5).

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::auth::AuthId;

/// Longest identifier read, in bytes: store, eight namespace components and a group, each escaped fourfold.
const UPID_BYTES_MAX: usize = 2048;

/// The identifier of a task:
/// `UPID:<node>:<pid>:<pstart>:<number>:<starttime>:<worker type>:<worker id>:<auth id>:`, numbers in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upid {
    /// Name of the machine.
    pub node: String,
    /// The server's process id.
    pub pid: u32,
    /// When that process was started, in clock ticks since the machine was.
    pub pstart: u64,
    /// Number of the task within the process.
    pub number: u32,
    /// When the task was started, in seconds since the Unix epoch.
    pub starttime: u32,
    /// What it does, such as `backup`, `reader`, `garbage_collection`.
    pub worker_type: String,
    /// What it does it on, such as `store1:vm/100`.
    pub worker_id: Option<String>,
    /// Who started it.
    pub auth_id: AuthId,
}

/// A text that is no task identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no task identifier (UPID)")]
pub struct UpidError {
    /// The text, cut to a length that can be shown.
    pub text: String,
}

impl Upid {
    /// Returns the name of the task's log file: unique, short and plain, whatever the worker id is.
    pub(super) fn file_name(&self) -> String {
        format!("{:08X}-{:08X}-{:08X}", self.starttime, self.pid, self.number)
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "UPID:{}:{:08X}:{:08X}:{:08X}:{:08X}:{}:{}:{}:",
            self.node,
            self.pid,
            self.pstart,
            self.number,
            self.starttime,
            self.worker_type,
            escape(self.worker_id.as_deref().unwrap_or_default()),
            self.auth_id
        )
    }
}

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| UpidError { text: text.chars().take(120).collect() })
    }
}

impl Serialize for Upid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn parse(text: &str) -> Option<Upid> {
    if text.len() > UPID_BYTES_MAX {
        return None;
    }
    let mut fields = text.strip_prefix("UPID:")?.strip_suffix(':')?.split(':');
    let upid = Upid {
        node: fields.next().filter(|node| is_plain(node))?.to_owned(),
        pid: u32::try_from(hex(fields.next()?, 8)?).ok()?,
        pstart: hex(fields.next()?, 9)?,
        number: u32::try_from(hex(fields.next()?, 8)?).ok()?,
        starttime: u32::try_from(hex(fields.next()?, 8)?).ok()?,
        worker_type: fields.next().filter(|worker_type| is_plain(worker_type))?.to_owned(),
        worker_id: unescape(fields.next()?)?,
        auth_id: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(upid)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Reads 8 to `digits_max` upper-case hexadecimal digits.
fn hex(text: &str, digits_max: usize) -> Option<u64> {
    let is_good = (8..=digits_max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    is_good.then(|| u64::from_str_radix(text, 16).ok())?
}

/// Escapes a worker id as systemd escapes the names of units: `/` becomes `-`; other bytes than `A-Z a-z 0-9 _ .`, and a
/// leading dot, become `\xNN`.
fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for (i, byte) in id.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if i > 0 => escaped.push('.'),
            b'_' => escaped.push('_'),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(escaped, "\\x{byte:02x}")),
        }
    }
    escaped
}

/// Undoes [`escape`]; the outer `None` means malformed, the inner one empty.
#[expect(clippy::option_option, reason = "malformed and empty are different, and the caller passes both on")]
fn unescape(text: &str) -> Option<Option<String>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'-' => bytes.push(b'/'),
            b'\\' => {
                let (digits, tail) = tail.strip_prefix(b"x")?.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = tail;
            }
            b'.' | b'_' => bytes.push(byte),
            _ if byte.is_ascii_alphanumeric() => bytes.push(byte),
            _ => return None,
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    Some((!id.is_empty()).then_some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec/vectors/json/task-list.json
    const VECTOR: &str = "UPID:pbs1:000004D2:0000A1B2:00000001:6553F100:verify_snapshot:store1\\x3a-host-demo-6553F100:root@pam:";

    #[test]
    fn the_vector_decodes_and_encodes() {
        let upid: Upid = VECTOR.parse().unwrap();
        assert_eq!((upid.pid, upid.pstart, upid.number, upid.starttime), (1234, 41394, 1, 1_700_000_000));
        assert_eq!(upid.worker_type, "verify_snapshot");
        assert_eq!(upid.worker_id.as_deref(), Some("store1:/host/demo/6553F100"));
        assert_eq!(upid.to_string(), VECTOR);
    }

    #[test]
    fn worker_ids_are_escaped_as_the_vectors_say() {
        // spec/vectors/README.md, "Small facts".
        assert_eq!(escape("store1:vm/100"), "store1\\x3avm-100");
        assert_eq!(escape("vm/100/2022-05-02T08:11:33Z"), "vm-100-2022\\x2d05\\x2d02T08\\x3a11\\x3a33Z");
        assert_eq!(escape(".a.b"), "\\x2ea.b");
        for id in ["store1:vm/100", "a-b_c.d", ".x", "ü", "a b\\x"] {
            assert_eq!(unescape(&escape(id)), Some(Some(id.to_owned())));
        }
    }

    #[test]
    fn an_empty_worker_id_and_a_long_process_start_are_fine() {
        let text = "UPID:pbs1:000004D2:10000A1B2:00000001:6553F100:garbage_collection::a@pbs!tok1:";
        let upid: Upid = text.parse().unwrap();
        assert_eq!((upid.worker_id.as_ref(), upid.to_string().as_str()), (None, text));
    }

    #[test]
    fn malformed_texts_are_refused() {
        let cut = &VECTOR[..VECTOR.len() - 1];
        let bad_escape = VECTOR.replace("\\x3a", "\\xzz");
        let lower = VECTOR.replace("0000A1B2", "0000a1b2");
        let plus = VECTOR.replace("000004D2", "+00004D2");
        let extra = format!("{VECTOR}x:");
        let path = VECTOR.replace("pbs1", "../x");
        for text in ["", "UPID:", "UPID::::::::", cut, &bad_escape, &lower, &plus, &extra, &path] {
            assert!(text.parse::<Upid>().is_err(), "{text:?} was taken");
        }
    }
}
