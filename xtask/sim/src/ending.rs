//! What must hold when everything has come to an end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_chunk_store::backend::ObjectKey;
use coldkeep_chunk_store::dir::{BAD_COPIES_MAX, EntryKind, EntryName};
use coldkeep_gc::Control;

use crate::executor::Role;
use crate::ledger::{index_key, manifest_key};
use crate::play::{FRESH, Play};
use crate::step::{Ending, Flavour};
use crate::work::{self, CONTENT, RunPlan};

/// Furthest that a use is ahead of the saved clock: what was used when the wall clock was far ahead, before a crash, is young for so
/// long after the next start (R12).
pub(crate) const UNSAVED_MAX: Duration = Duration::from_secs(90);

/// The clocks of bucket and server are allowed to be so far apart (R7).
pub(crate) const SKEW: Duration = Duration::from_secs(2);

/// Objects that every bucket has.
pub(crate) const OWN: [&str; 2] = [".generation", ".in-use"];

impl Play {
    /// Ends the history; returns what does not hold.
    pub(crate) fn end(&mut self) -> Option<String> {
        while self.net.late() > 0 {
            self.net.land(0);
        }
        let broken = self.drain().or_else(|| self.broken()).or_else(|| self.wrong_belief());
        broken.or_else(|| self.reopen()).or_else(|| self.clean_run()).or_else(|| self.restore_all())
    }

    /// Sees to it that a server is up which has the bucket.
    fn reopen(&mut self) -> Option<String> {
        let number = match (self.setup.ending, self.setup.flavour) {
            (Ending::GoOn, _) if self.goes_on() => return None,
            (Ending::Fresh, Flavour::Bucket) => FRESH,
            _ => self.active,
        };
        self.kill(self.active);
        self.active = number;
        self.kill(number);
        self.open(number);
        if let Some(broken) = self.drain() {
            return Some(broken);
        }
        self.context()
            .is_none()
            .then(|| format!("server {number} cannot be opened although nothing goes wrong"))
    }

    /// Returns whether the active server can go on as it is.
    fn goes_on(&self) -> bool {
        let active = &self.servers[self.active];
        // Not knowing yet that it has lost the bucket is no way to go on.
        let has_bucket = self.setup.flavour == Flavour::Folder || self.net.owner() == Some(active.process);
        has_bucket && self.context().is_some_and(|context| !context.store.is_closed())
    }

    /// Makes one run that nobody disturbs, which leaves what is referenced and nothing else (I5).
    fn clean_run(&mut self) -> Option<String> {
        // No longer than what is waited for by the rules: no request lives longer, and nothing was used later.
        let (lasts, margin) = self.setup.lifetime;
        self.advance(Duration::from_secs(lasts + margin) + SKEW + 2 * UNSAVED_MAX);
        let context = self.context()?;
        let is_complete: Arc<Mutex<bool>> = Arc::default();
        let end = Arc::clone(&is_complete);
        let plan = RunPlan { grace: 0, parallel: 4 };
        self.executor.spawn(context.process, Role::Run, async move {
            let complete = work::collect_once(context, plan, Control::new()).await;
            *end.lock().unwrap_or_else(PoisonError::into_inner) = complete;
        });
        if let Some(broken) = self.drain() {
            return Some(broken);
        }
        if !*is_complete.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some("the last run fails although nothing goes wrong".to_owned());
        }
        let broken = self.broken().or_else(|| self.wrong_belief());
        broken.or_else(|| match self.setup.flavour {
            Flavour::Bucket => self.objects_left(),
            Flavour::Folder => self.files_left(&self.indexed(false), &self.indexed(true)),
        })
    }

    /// Returns the chunks that the indexes beside a folder name, or those with a manifest only.
    fn indexed(&self, committed: bool) -> BTreeSet<usize> {
        let catalog = &self.servers[self.active].catalog;
        let paths = catalog.indexes().into_iter().filter(|path| !committed || catalog.has_manifest(path));
        paths.filter_map(|path| catalog.index(&path)).flatten().collect()
    }

    /// Compares what is in the bucket and on the disk with what should be.
    fn objects_left(&self) -> Option<String> {
        let bucket = self.net.bucket();
        let objects: BTreeSet<String> = bucket.keys().into_iter().collect();
        let paths = objects.iter().filter(|key| key.starts_with(CONTENT));
        let paths: BTreeSet<&str> = paths.filter_map(|key| Some(key.rsplit_once('/')?.0)).collect();
        let mut expected: BTreeSet<String> = OWN.iter().map(|key| (*key).to_owned()).collect();
        let mut referenced = BTreeSet::new();
        for path in paths {
            let index = bucket.object(&index_key(path)).and_then(|content| work::decode_index(&content));
            // A commit that was not acknowledged counts like any other once it is there.
            let Some(numbers) = index.filter(|_| objects.contains(&manifest_key(path))) else { continue };
            expected.extend([index_key(path), manifest_key(path)]);
            let is_there = |number: &usize| self.net.has_chunk(&self.chunks, *number);
            let is_lost = |number: &&usize| !is_there(number) && self.ledger.rots(**number) == 0;
            if let Some(lost) = numbers.iter().find(is_lost) {
                return Some(format!("I1: chunk {lost} of {path}, which nobody was told of, is gone"));
            }
            referenced.extend(numbers);
        }
        expected.extend(referenced.iter().map(|number| self.chunks.key(*number).to_owned()));
        expected.extend(referenced.iter().flat_map(|number| self.bad_copies(*number)).map(key_of));
        if let Some(left) = objects.difference(&expected).next() {
            return Some(format!("I5: {left} is left after a complete run"));
        }
        referenced.retain(|number| self.net.has_chunk(&self.chunks, *number));
        self.files_left(&referenced, &referenced)
    }

    /// Compares what is on the disk with the chunks that may be there, and those that should be.
    fn files_left(&self, referenced: &BTreeSet<usize>, needed: &BTreeSet<usize>) -> Option<String> {
        let name = |number: &usize| EntryName::chunk(self.chunks.digest(*number));
        let mut expected: BTreeSet<EntryName> = referenced.iter().map(name).collect();
        let is_folder = self.setup.flavour == Flavour::Folder;
        if is_folder {
            expected.extend(referenced.iter().flat_map(|number| self.bad_copies(*number)));
        }
        let files: BTreeSet<EntryName> =
            self.servers[self.active].dir.entries().into_iter().map(|entry| entry.name).collect();
        if let Some(left) = files.difference(&expected).next() {
            return Some(format!("I5: the local file {left} is left after a complete run"));
        }
        // In a folder a chunk that was set aside is reported as missing; an object of which that holds is not among these.
        let is_set_aside = |number: &usize| is_folder && self.ledger.rots(*number) > 0;
        let mut unmarked = needed
            .iter()
            .filter(|number| !is_set_aside(number))
            .map(name)
            .filter(|name| !files.contains(name));
        unmarked.next().map(|name| format!("R14: {name} has no marker after a complete run"))
    }

    /// Names what may be set aside of a chunk, as long as some index names it (R15).
    fn bad_copies(&self, number: usize) -> impl Iterator<Item = EntryName> {
        let digest = self.chunks.digest(number);
        (0..BAD_COPIES_MAX).map(move |copy| EntryName::new(digest, EntryKind::Bad(copy)))
    }

    /// Restores every committed snapshot.
    fn restore_all(&mut self) -> Option<String> {
        let context = self.context()?;
        let failed: Arc<Mutex<Option<String>>> = Arc::default();
        let noted = Arc::clone(&failed);
        let snapshots = self.ledger.snapshots();
        self.executor.spawn(context.process, Role::Other, async move {
            for (path, snapshot) in snapshots {
                if !work::restore(&context, &path, &snapshot).await {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(format!("I1: {path} cannot be restored at the end"));
                }
            }
        });
        let broken = self.drain().or_else(|| self.broken());
        broken.or_else(|| failed.lock().unwrap_or_else(PoisonError::into_inner).take())
    }
}

fn key_of(name: EntryName) -> String {
    ObjectKey::of_entry(name).to_string()
}
