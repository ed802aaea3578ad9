//! The runs of a datastore, kept in its folder: what each found and how it ended.

use std::path::PathBuf;
use std::sync::PoisonError;

use coldkeep_chunk_store::StoreTime;
use coldkeep_chunk_store::dir::DirError;
use coldkeep_chunk_store::durable::replace_file;
use coldkeep_datastore::Datastore;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// File below the store's state folder: one JSON object a line, the oldest run first.
const HISTORY_FILE: &str = ".coldkeep/collections";

/// Most runs that are kept.
pub(super) const RUNS_MAX: usize = 100;

/// Most bytes that are kept, whatever number of runs that is; the newest run always is.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// One run, however it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PastRun {
    /// Its task.
    pub(crate) upid: String,
    /// When it ended, or began if it was interrupted, in Unix seconds of the store clock.
    pub(crate) ended_at: i64,
    /// `OK`, `WARNINGS: n`, `stopped`, `interrupted`, or what went wrong.
    pub(crate) state: String,
    /// Whether it was to remove nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// The whole report, also of what a run did until it failed; absent if it did not begin.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) report: Value,
}

impl PastRun {
    /// What is noted of a run when it begins, and stays if the process ends before the run does.
    pub(super) fn begun(upid: String, now: StoreTime, dry_run: bool) -> Self {
        let state = "interrupted".to_owned();
        Self { upid, ended_at: now.unix_seconds(), state, dry_run, report: Value::Null }
    }

    /// Returns whether it was to remove nothing. Of earlier versions only the report says so.
    pub(crate) fn is_dry(&self) -> bool {
        self.dry_run || self.report["dry_run"] == true
    }
}

/// Reads the runs of a datastore, the newest first. Lines that are damaged are left out.
pub(crate) async fn read(store: &Datastore) -> Vec<PastRun> {
    let path = path(store);
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
    let text = read.await.ok().and_then(Result::ok).unwrap_or_default();
    parse(&text)
}

/// Reads the file, the newest run first.
pub(super) fn parse(text: &str) -> Vec<PastRun> {
    text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Adds a run, in place of what was noted when it began.
pub(super) async fn add(store: &Datastore, run: &PastRun) -> Result<(), DirError> {
    let (path, turn) = (path(store), store.writing_results());
    let (line, upid) = (serde_json::to_string(run).unwrap_or_default(), run.upid.clone());
    let added = tokio::task::spawn_blocking(move || {
        // A run that was refused may be noted while another one ends.
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A damaged history is started over: nothing depends on it.
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidData) =>
            {
                String::new()
            }
            Err(source) => return Err(DirError::new("read", path, source)),
        };
        replace_file(&path, with_line(&without(&before, &upid), &line).as_bytes(), 0o640)
    });
    // The thread ends early only while the process shuts down.
    added.await.unwrap_or(Ok(()))
}

fn path(store: &Datastore) -> PathBuf {
    store.folder().join(HISTORY_FILE)
}

/// Returns the lines that are not of this run.
pub(super) fn without(text: &str, upid: &str) -> String {
    let is_of = |line: &str| serde_json::from_str::<PastRun>(line).is_ok_and(|run| run.upid == upid);
    text.lines().filter(|line| !is_of(line)).flat_map(|line| [line, "\n"]).collect()
}

/// Adds a line and drops the oldest ones beyond the bounds.
pub(super) fn with_line(before: &str, line: &str) -> String {
    let (mut kept, mut bytes) = (vec![line], line.len() + 1);
    for earlier in before.lines().rev().take(RUNS_MAX - 1) {
        bytes += earlier.len() + 1;
        if bytes > BYTES_MAX {
            break;
        }
        kept.push(earlier);
    }
    kept.iter().rev().flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_told_by_what_earlier_versions_wrote_too() {
        let is_dry = |line: &str| serde_json::from_str::<PastRun>(line).unwrap().is_dry();
        assert!(is_dry(r#"{"upid":"U","ended-at":1,"state":"OK","report":{"dry_run":true}}"#));
        assert!(!is_dry(r#"{"upid":"U","ended-at":1,"state":"OK","report":{"dry_run":false}}"#));
        assert!(is_dry(r#"{"upid":"U","ended-at":1,"state":"disk on fire","dry-run":true}"#));
        assert!(!is_dry(r#"{"upid":"U","ended-at":1,"state":"disk on fire"}"#));
    }

    #[test]
    fn a_run_is_interrupted_until_its_end_is_noted_in_place_of_its_beginning() {
        let noted = |before: &str, run: &PastRun| {
            with_line(&without(before, &run.upid), &serde_json::to_string(run).unwrap())
        };
        let begun = |upid: &str| PastRun::begun(upid.to_owned(), StoreTime::EPOCH, true);
        let text = noted(&noted("damaged\n", &begun("A")), &begun("B"));
        let states = |text: &str| {
            parse(text).into_iter().map(|run| (run.upid.clone(), run.is_dry(), run.state)).collect::<Vec<_>>()
        };
        let is = |upid: &str, state: &str| (upid.to_owned(), true, state.to_owned());
        assert_eq!(states(&text), [is("B", "interrupted"), is("A", "interrupted")]);
        let text = noted(&text, &PastRun { state: "OK".to_owned(), ..begun("A") });
        assert_eq!(states(&text), [is("A", "OK"), is("B", "interrupted")]);
        assert!(text.starts_with("damaged\n"), "what is not understood is left alone: {text}");
    }

    #[test]
    fn the_newest_runs_are_kept_within_the_bounds() {
        let mut text = String::new();
        for number in 0..RUNS_MAX + 5 {
            text = with_line(&text, &number.to_string());
        }
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[RUNS_MAX - 1]), (RUNS_MAX, "5", "104"));
        let long = "x".repeat(BYTES_MAX / 2);
        text = with_line(&with_line(&text, &long), &long);
        assert_eq!(text.lines().count(), 1, "two of them and their line ends are too much");
        assert_eq!(with_line(&text, &"y".repeat(2 * BYTES_MAX)).lines().count(), 1);
    }
}
