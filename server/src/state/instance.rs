//! The name of a server among others, made at its first start.

use std::fmt::Write;

use super::json_file::{PUBLIC_MODE, read_bytes, write_bytes};
use super::{DataDir, StateError};

const ID_BYTES: usize = 16;

/// Reads the identifier of this server, 32 lower-case hexadecimal digits, or makes one. Blocks.
pub(crate) fn load_instance_id(data_dir: &DataDir) -> Result<String, StateError> {
    let path = data_dir.config("instance-id");
    if let Some(bytes) = read_bytes(&path)? {
        let text = String::from_utf8(bytes).unwrap_or_default();
        let id = text.trim_end();
        let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        return if is_id { Ok(id.to_owned()) } else { Err(StateError::InstanceId { path }) };
    }
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    let mut id = String::with_capacity(2 * ID_BYTES);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    write_bytes(&path, format!("{id}\n").as_bytes(), PUBLIC_MODE)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_stays_and_a_spoilt_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let id = load_instance_id(&data_dir).unwrap();
        assert_eq!(load_instance_id(&data_dir).unwrap(), id);
        for spoilt in ["", "0123", "0123456789ABCDEF0123456789ABCDEF", "x123456789abcdef0123456789abcdef"] {
            std::fs::write(data_dir.config("instance-id"), spoilt).unwrap();
            assert!(matches!(load_instance_id(&data_dir), Err(StateError::InstanceId { .. })), "{spoilt:?}");
        }
    }
}
