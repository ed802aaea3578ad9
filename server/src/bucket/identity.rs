//! Who we are to other servers that open the same bucket (R11).

use std::path::Path;

use coldkeep_chunk_store::bucket::Holder;
use serde::{Deserialize, Serialize};

use crate::state::{StateError, json_file};

/// The content of the file that keeps the server's id.
#[derive(Serialize, Deserialize)]
struct Identity {
    id: String,
}

/// Returns this process as the holder of buckets. The id is made once and kept in `path`, so that a restart is
/// recognised, and two servers on one machine are told apart. Blocks.
pub(crate) fn holder(path: &Path) -> Result<Holder, StateError> {
    let identity = if let Some(identity) = json_file::read::<Option<Identity>>(path)? {
        identity
    } else {
        let (high, low) = (random()?, random()?);
        let identity = Identity { id: format!("{high:016x}{low:016x}") };
        json_file::write(path, &identity, json_file::SECRET_MODE)?;
        identity
    };
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Holder { host, process: std::process::id(), id: identity.id })
}

fn random() -> Result<u64, StateError> {
    getrandom::u64().map_err(StateError::Random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server-id");
        let first = holder(&path).unwrap();
        assert_eq!(first.id.len(), 32);
        assert_eq!((holder(&path).unwrap(), first.process), (first, std::process::id()));
        let other = holder(&folder.path().join("other")).unwrap();
        assert_ne!(other.id, holder(&path).unwrap().id);
    }
}
