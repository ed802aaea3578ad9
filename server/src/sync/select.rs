//! Which snapshots of a group are copied (spec `pull.md` §4); pure.

use coldkeep_client::SnapshotItem;
use coldkeep_datastore::manifest::{CryptMode, Manifest, VerifyResult};
use coldkeep_datastore::{ArchiveName, BackupTime, SnapshotInfo};

use super::SyncOptions;

/// What becomes of a snapshot of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is copied, or looked at again if the target has it.
    Copy,
    /// The target has it, and it is damaged there.
    Repair,
    /// The target has it, or had it once.
    Synced,
    /// It is not among the newest.
    TooOld,
}

/// What the options ask about a snapshot.
pub(super) struct Traits {
    is_finished: bool,
    is_verified: bool,
    /// Whether all of it is encrypted, and its manifest signed.
    is_encrypted: bool,
}

impl Traits {
    /// Tells whether it may be copied at all: it is finished, and what the options ask for.
    pub(super) fn are_as_asked(&self, options: &SyncOptions) -> bool {
        self.is_finished
            && (!options.verified_only || self.is_verified)
            && (!options.encrypted_only || self.is_encrypted)
    }
}

/// A snapshot in a list of another server.
impl From<&SnapshotItem> for Traits {
    fn from(item: &SnapshotItem) -> Self {
        let mut files = item.files.iter().filter(|file| file.filename != ArchiveName::CLIENT_LOG);
        Self {
            is_finished: item.size.is_some(),
            is_verified: item.verification.as_ref().is_some_and(|verified| verified.state == "ok"),
            is_encrypted: files.all(|file| {
                let expected = if file.filename == ArchiveName::MANIFEST { "sign-only" } else { "encrypt" };
                file.crypt_mode.as_deref() == Some(expected)
            }),
        }
    }
}

/// A snapshot of this server.
impl From<&SnapshotInfo> for Traits {
    fn from(info: &SnapshotInfo) -> Self {
        let mut files = info.files.iter().filter(|file| file.filename.as_str() != ArchiveName::CLIENT_LOG);
        Self {
            is_finished: info.is_finished(),
            is_verified: info
                .verification
                .as_ref()
                .is_some_and(|verified| verified.state == VerifyResult::Ok),
            is_encrypted: files.all(|file| {
                let is_manifest = file.filename.is_manifest();
                file.crypt_mode == Some(if is_manifest { CryptMode::SignOnly } else { CryptMode::Encrypt })
            }),
        }
    }
}

/// A manifest, which may have changed since the list was made.
impl From<&Manifest> for Traits {
    fn from(manifest: &Manifest) -> Self {
        Self {
            is_finished: true,
            is_verified: manifest.verify_state().is_some_and(|verified| verified.state == VerifyResult::Ok),
            is_encrypted: manifest.files().iter().all(|file| file.crypt_mode == CryptMode::Encrypt),
        }
    }
}

/// Decides about the snapshots of a group by their times, oldest first. `last` is the target's newest finished one;
/// `is_corrupt` is asked only if damaged ones are to be copied again.
pub(super) fn decide(
    times: &[BackupTime],
    last: Option<BackupTime>,
    options: &SyncOptions,
    is_corrupt: impl Fn(BackupTime) -> bool,
) -> Vec<Decision> {
    let skipped = options.transfer_last.map_or(0, |newest| times.len().saturating_sub(newest));
    let decide = |(position, time): (usize, &BackupTime)| match last {
        _ if options.resyncs_corrupt && is_corrupt(*time) => Decision::Repair,
        Some(last) if *time < last => Decision::Synced,
        last if position < skipped && Some(*time) != last => Decision::TooOld,
        _ => Decision::Copy,
    };
    times.iter().enumerate().map(decide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: &[i64]) -> Vec<BackupTime> {
        seconds.iter().map(|second| BackupTime::from_unix(*second).unwrap()).collect()
    }

    fn decided(last: Option<i64>, options: &SyncOptions, corrupt: &[i64]) -> Vec<Decision> {
        let last = last.map(|second| BackupTime::from_unix(second).unwrap());
        let corrupt = times(corrupt);
        decide(&times(&[10, 20, 30, 40]), last, options, |time| corrupt.contains(&time))
    }

    use Decision::{Copy, Repair, Synced, TooOld};

    #[test]
    fn what_is_not_older_than_the_last_one_is_copied() {
        let options = SyncOptions::default();
        assert_eq!(decided(None, &options, &[]), [Copy; 4]);
        // The last one is looked at again; an older one that is missing stays missing.
        assert_eq!(decided(Some(30), &options, &[]), [Synced, Synced, Copy, Copy]);
        assert_eq!(decided(Some(50), &options, &[]), [Synced; 4]);
    }

    #[test]
    fn only_the_newest_are_copied_if_asked_but_the_last_one_is_looked_at() {
        let options = SyncOptions { transfer_last: Some(1), ..SyncOptions::default() };
        assert_eq!(decided(None, &options, &[]), [TooOld, TooOld, TooOld, Copy]);
        assert_eq!(decided(Some(20), &options, &[]), [Synced, Copy, TooOld, Copy]);
        let options = SyncOptions { transfer_last: Some(9), ..SyncOptions::default() };
        assert_eq!(decided(None, &options, &[]), [Copy; 4]);
    }

    #[test]
    fn damaged_ones_are_copied_again_only_if_asked() {
        let options = SyncOptions { resyncs_corrupt: true, transfer_last: Some(1), ..SyncOptions::default() };
        assert_eq!(decided(Some(40), &options, &[10, 40]), [Repair, Synced, Synced, Repair]);
        assert_eq!(decided(Some(40), &SyncOptions::default(), &[10, 40]), [Synced, Synced, Synced, Copy]);
    }

    #[test]
    fn a_list_tells_what_is_verified_and_encrypted() {
        let item = |json: &str| -> SnapshotItem { serde_json::from_str(json).unwrap() };
        let plain = item(
            r#"{"backup-type":"vm","backup-id":"1","backup-time":10,"size":5,
                "files":[{"filename":"a.img.fidx","crypt-mode":"none"},{"filename":"index.json.blob","crypt-mode":"none"}]}"#,
        );
        let encrypted = item(
            r#"{"backup-type":"vm","backup-id":"1","backup-time":10,"size":5,
                "verification":{"state":"ok","upid":"UPID:x"},
                "files":[{"filename":"a.img.fidx","crypt-mode":"encrypt"},{"filename":"index.json.blob","crypt-mode":"sign-only"},
                {"filename":"client.log.blob"}]}"#,
        );
        let running = item(r#"{"backup-type":"vm","backup-id":"1","backup-time":10,"files":[]}"#);
        let any = SyncOptions::default();
        let verified = SyncOptions { verified_only: true, ..SyncOptions::default() };
        let only_encrypted = SyncOptions { encrypted_only: true, ..SyncOptions::default() };
        for (options, expected) in
            [(&any, [true, true]), (&verified, [false, true]), (&only_encrypted, [false, true])]
        {
            let asked = [&plain, &encrypted].map(|item| Traits::from(item).are_as_asked(options));
            assert_eq!(asked, expected, "{options:?}");
        }
        assert!(!Traits::from(&running).are_as_asked(&any));
    }
}
