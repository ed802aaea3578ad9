//! What must hold when everything has come to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coldkeep_datastore::{ArchiveName, Namespace, RefreshReport, SnapshotName};
use coldkeep_gc::Control;

use super::play::Play;
use super::work::{self, Context, index_key, manifest_key, owner_key};
use crate::ending::{OWN, SKEW, UNSAVED_MAX};
use crate::play::FRESH;
use crate::step::Ending;

impl Play {
    /// Ends the history; returns what does not hold.
    pub(super) fn end(&mut self) -> Option<String> {
        while self.net.late() > 0 {
            self.net.land(0);
        }
        let broken = self.drain().or_else(|| self.broken()).or_else(|| self.reopen());
        let broken = broken.or_else(|| self.clean_run()).or_else(|| self.objects_left());
        // A commit whose end nobody saw may be in the bucket alone until the next open.
        let broken = broken.or_else(|| self.look_through(Shows::NoMore));
        let broken = broken.or_else(|| self.close_and_open().err());
        let broken = broken.or_else(|| self.look_through(Shows::TheSame));
        // Now it is the same on both sides: there is nothing to refresh (R10).
        broken.or_else(|| match self.close_and_open() {
            Ok(None) => None,
            Ok(Some(report)) => Some(format!("R10: a clean end leaves a tree to refresh: {report:?}")),
            Err(broken) => Some(broken),
        })
    }

    /// Sees to it that a server is up which has the bucket.
    fn reopen(&mut self) -> Option<String> {
        if self.setup.ending == Ending::GoOn && self.goes_on() {
            return None;
        }
        self.kill(self.active);
        if self.setup.ending == Ending::Fresh {
            self.active = FRESH;
        }
        self.open_again()
    }

    /// Returns whether the active server can go on as it is.
    fn goes_on(&self) -> bool {
        let server = &self.servers[self.active];
        let is_open = server.store().is_some_and(|store| {
            store.chunks().as_bucket().is_some_and(|bucket| bucket.status().closed.is_none())
        });
        // Not knowing yet that it has lost the bucket is no way to go on.
        is_open && self.net.owner() == Some(server.process())
    }

    fn open_again(&mut self) -> Option<String> {
        self.open(self.active);
        let broken = self.drain();
        broken.or_else(|| {
            let is_up = self.servers[self.active].store().is_some();
            (!is_up).then(|| "the datastore cannot be opened although nothing goes wrong".to_owned())
        })
    }

    /// Makes one run that nobody disturbs, which leaves what is referenced and nothing else (I5).
    fn clean_run(&mut self) -> Option<String> {
        // No longer than what is waited for by the rules: no request lives longer, and nothing was used later.
        let (lasts, margin) = self.setup.lifetime;
        self.advance(Duration::from_secs(lasts + margin) + SKEW + 2 * UNSAVED_MAX);
        match self.ask(|context| work::collect_once(context, 0, Control::new())) {
            Some(Ok(true)) => None,
            Some(Err(broken)) => Some(broken),
            _ => Some("the last run fails although nothing goes wrong".to_owned()),
        }
    }

    /// Has the active server do something that nobody disturbs; the outer `None`: it is down.
    fn ask<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        task: impl FnOnce(Context) -> F,
    ) -> Option<Result<T, String>> {
        let context = self.context(self.active)?;
        let answer: Arc<Mutex<Option<T>>> = Arc::default();
        let (place, task) = (Arc::clone(&answer), task(context));
        self.servers[self.active].spawn(async move {
            let done = task.await;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        });
        if let Some(broken) = self.drain().or_else(|| self.broken()) {
            return Some(Err(broken));
        }
        let done = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(done.ok_or_else(|| "what was asked for at the end came to nothing".to_owned()))
    }

    /// Returns the snapshots in the bucket, with the chunks that each names. One that nobody was told of counts like any other once it
    /// is there.
    fn in_bucket(&self) -> Result<BTreeMap<SnapshotName, Vec<usize>>, String> {
        let bucket = self.net.bucket();
        let suffix = format!("/{}", ArchiveName::manifest());
        let keys = bucket.keys();
        let names = keys.iter().filter_map(|key| key.strip_prefix(".cnt/")?.strip_suffix(suffix.as_str()));
        let names = names.filter_map(|name| name.parse::<SnapshotName>().ok());
        names
            .map(|name| {
                let index = bucket.object(&index_key(&name));
                let numbers = index.as_ref().and_then(|index| work::numbers(&self.chunks, index));
                let numbers =
                    numbers.ok_or_else(|| format!("I4: {name} has a manifest and no whole index"))?;
                let manifest = bucket.object(&manifest_key(&name));
                if !index
                    .zip(manifest)
                    .is_some_and(|(index, manifest)| work::belong_together(&index, manifest))
                {
                    return Err(format!("I4: the manifest of {name} is not that of its index"));
                }
                if self.ledger.numbers(&name).is_some_and(|committed| committed != numbers) {
                    return Err(format!("I1: the index of {name} is another one than was committed"));
                }
                let owner = bucket.object(&owner_key(&name.group));
                if !owner.is_some_and(|owner| self.ledger.may_be_owner(&name, &owner)) {
                    return Err(format!("{name} has an owner who did not make it"));
                }
                let is_lost = |number: &&usize| !self.net.has_chunk(&self.chunks, **number);
                match numbers.iter().find(is_lost) {
                    Some(lost) => Err(format!("I1: chunk {lost} of {name} is gone")),
                    None => Ok((name, numbers)),
                }
            })
            .collect()
    }

    /// Compares what is in the bucket with what should be.
    fn objects_left(&self) -> Option<String> {
        let snapshots = match self.in_bucket() {
            Ok(snapshots) => snapshots,
            Err(broken) => return Some(broken),
        };
        let mut expected = BTreeSet::new();
        for (name, numbers) in &snapshots {
            expected.extend([manifest_key(name), index_key(name), owner_key(&name.group)]);
            expected.extend(numbers.iter().map(|number| self.chunks.key(*number).to_owned()));
        }
        let mut objects: BTreeSet<String> = self.net.bucket().keys().into_iter().collect();
        // An end that was clean may be noted late, and take the mark of who uses the bucket with it.
        objects.retain(|key| !OWN.contains(&key.as_str()));
        let left = objects.difference(&expected).next();
        let left = left.map(|key| format!("I5: {key} is left after a complete run"));
        left.or_else(|| {
            expected.difference(&objects).next().map(|key| format!("I1: {key} is gone at the end"))
        })
    }

    /// Compares what the server shows with what the bucket has, and restores all of it.
    fn look_through(&mut self, shows: Shows) -> Option<String> {
        let expected = match self.in_bucket() {
            Ok(expected) => expected,
            Err(broken) => return Some(broken),
        };
        match self.ask(|context| look(context, expected, shows)) {
            None => Some("the server is down at the end".to_owned()),
            Some(Err(broken) | Ok(Err(broken))) => Some(broken),
            Some(Ok(Ok(()))) => None,
        }
    }

    /// Closes the datastore cleanly and opens it; returns what was refreshed.
    fn close_and_open(&mut self) -> Result<Option<RefreshReport>, String> {
        self.servers[self.active].close(&self.net);
        self.drain().map_or(Ok(()), Err)?;
        self.kill(self.active);
        self.open_again().map_or(Ok(()), Err)?;
        let store = self.servers[self.active].store();
        Ok(store.and_then(|store| store.refresh_report().cloned()))
    }
}

/// What a server shows of the snapshots in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Those that were acknowledged, and maybe others.
    NoMore,
    TheSame,
}

async fn look(
    context: Context,
    expected: BTreeMap<SnapshotName, Vec<usize>>,
    shows: Shows,
) -> Result<(), String> {
    let shown = context.store.snapshots(&Namespace::root(), None, None).await;
    let shown = shown.map_err(|error| crate::work::chain(&error))?;
    let shown: BTreeSet<&SnapshotName> = shown.iter().map(|info| &info.name).collect();
    if let Some(name) = shown.difference(&expected.keys().collect()).next() {
        return Err(format!("R10: {name} is shown and not in the bucket"));
    }
    let is_due = |name: &SnapshotName| shows == Shows::TheSame || context.ledger.is_committed(name);
    for (name, numbers) in expected.iter().filter(|(name, _)| is_due(name)) {
        if !shown.contains(name) {
            return Err(format!("R10: {name} is in the bucket and not shown"));
        }
        if !work::restore(&context, name, numbers).await {
            return Err(format!("I1: {name} is not restored"));
        }
    }
    Ok(())
}
