//! Sweep: list, judge, remove and heal, many shards at once.
//!
//! One task drives it all, so that one seed decides a simulated run: what takes time happens inside the futures of the
//! store. Listings go on while a batch of removals is under way, until enough is gathered for the next one.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use coldkeep_chunk_store::dir::EntryKind;
use coldkeep_chunk_store::switch::is_off;
use coldkeep_chunk_store::{Digest, DigestSet, StoreTime};
use futures_util::StreamExt as _;
use futures_util::future::{self, Either};
use futures_util::stream::{self, FuturesUnordered};

use crate::control::{Control, Phase};
use crate::options::Options;
use crate::report::Report;
use crate::sweep::counts::Counts;
use crate::target::{Agreement, Description, Page, Removal, Repair, SweepTarget};
use crate::verdict::{Candidate, Verdict, verdict};

mod counts;

/// How long candidates are gathered for a removal that is not full.
const GATHER_MAX: Duration = Duration::from_secs(2);

/// Digests looked at again at once, in case they need to be healed.
const HEALS: usize = 16;

/// Digests waiting for that, before no more is listed.
const HEALS_WAITING_MAX: usize = 1000;

/// How long a pause for the rate of removals lasts before the run looks whether it was cancelled.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// One sweep over a store.
pub(crate) struct Sweep<'a, T: SweepTarget> {
    pub(crate) target: &'a T,
    pub(crate) run: &'a T::Run,
    pub(crate) cutoff: StoreTime,
    pub(crate) options: &'a Options,
    pub(crate) control: &'a Control,
}

/// What a file or object is, and how large.
#[derive(Debug, Clone, Copy)]
struct Facts {
    digest: Digest,
    kind: EntryKind,
    size: u64,
    agreement: Agreement,
}

impl Facts {
    fn of(description: &Description) -> Self {
        let Description { digest, kind, size, agreement, .. } = *description;
        Self { digest, kind, size, agreement }
    }
}

/// What a step of the sweep came to.
enum Event<T: SweepTarget> {
    Listed(Result<Page<T>, T::Error>),
    Removed(Vec<Facts>, Result<Vec<Removal>, T::Error>),
    Healed(Result<Repair, T::Error>),
    Paused,
}

type Step<'a, T> = Pin<Box<dyn Future<Output = Event<T>> + Send + 'a>>;

/// How far a sweep is.
struct Flow<'a, T: SweepTarget> {
    sweep: &'a Sweep<'a, T>,
    /// The referenced digests; visited are those whose chunk was listed.
    referenced: &'a mut DigestSet,
    /// Listings, looks and pauses: they can be dropped at any time.
    steps: FuturesUnordered<Step<'a, T>>,
    /// Removals, which are waited for, so that what they did is counted.
    removing: FuturesUnordered<Step<'a, T>>,
    shards: VecDeque<T::Shard>,
    listings: usize,
    gathered: VecDeque<(T::Entry, Facts)>,
    /// When the first of them was judged, on the monotonic clock.
    gathered_since: Option<Duration>,
    /// When the latest removal began, on the monotonic clock.
    removal_began_at: Duration,
    /// When the rate of removals allows the next one, on the monotonic clock.
    next_removal_at: Duration,
    is_pausing: bool,
    to_heal: VecDeque<(Digest, bool)>,
    heals: usize,
    counts: Counts,
    end: Result<(), T::Error>,
}

impl<T: SweepTarget> Sweep<'_, T> {
    /// Sweeps every shard and puts the counts into `report`; the first failure ends it. Removals that are under way then, or
    /// when the run is cancelled, are waited for, so that they are counted.
    pub(crate) async fn run(&self, referenced: &mut DigestSet, report: &mut Report) -> Result<(), T::Error> {
        let started = self.target.monotonic();
        let Some(shards) = self.control.unless_cancelled(self.target.shards(self.run)).await else {
            return Ok(());
        };
        let shards: VecDeque<T::Shard> = shards?.into();
        self.control.begin_phase(Phase::Sweep, shards.len() as u64, started);
        let mut flow = Flow::new(self, referenced, shards);
        loop {
            flow.start();
            let Some(event) = flow.next().await else { break };
            flow.take(event);
        }
        let Flow { gathered, mut counts, end, .. } = flow;
        for (_, facts) in gathered {
            // Judged, but the run ended first.
            counts.note_kept(facts);
        }
        counts.write(report);
        report.note_sweep(self.target.monotonic().saturating_sub(started));
        end
    }
}

impl<'a, T: SweepTarget> Flow<'a, T> {
    fn new(sweep: &'a Sweep<'a, T>, referenced: &'a mut DigestSet, shards: VecDeque<T::Shard>) -> Self {
        Self {
            sweep,
            referenced,
            steps: FuturesUnordered::new(),
            removing: FuturesUnordered::new(),
            shards,
            listings: 0,
            gathered: VecDeque::new(),
            gathered_since: None,
            removal_began_at: Duration::ZERO,
            next_removal_at: Duration::ZERO,
            is_pausing: false,
            to_heal: VecDeque::new(),
            heals: 0,
            counts: Counts::default(),
            end: Ok(()),
        }
    }

    fn is_stopped(&self) -> bool {
        self.sweep.control.is_cancelled() || self.end.is_err()
    }

    /// Waits for the next event; `None` when nothing is under way any more.
    async fn next(&mut self) -> Option<Event<T>> {
        if self.is_stopped() {
            // Requests of them may go on and on while the backend is away.
            self.steps.clear();
            return self.removing.next().await;
        }
        let mut events = stream::select(&mut self.steps, &mut self.removing);
        match future::select(events.next(), pin!(self.sweep.control.cancelled())).await {
            Either::Left((event, _)) => event,
            Either::Right(_) => Some(Event::Paused),
        }
    }

    /// Starts whatever may start now.
    fn start(&mut self) {
        if self.is_stopped() {
            return;
        }
        self.start_heals();
        self.start_removals();
        let listings_max = self.sweep.options.sweep_parallel.unwrap_or(T::LISTINGS).max(1);
        while self.listings < listings_max
            // Back-pressure: no more is gathered than removals and looks keep up with.
            && self.gathered.len() < 2 * T::REMOVAL_MAX
            && self.to_heal.len() < HEALS_WAITING_MAX
            && let Some(shard) = self.shards.pop_front()
        {
            self.listings += 1;
            let Sweep { target, run, .. } = *self.sweep;
            self.steps.push(Box::pin(async move { Event::Listed(target.list(run, shard).await) }));
        }
    }

    fn start_heals(&mut self) {
        while self.heals < HEALS
            && let Some((digest, is_referenced)) = self.to_heal.pop_front()
        {
            self.heals += 1;
            let Sweep { target, run, options, .. } = *self.sweep;
            self.steps.push(Box::pin(async move {
                let repair = if options.dry_run {
                    target.preview_heal(run, &digest, is_referenced).await
                } else {
                    target.heal(run, &digest, is_referenced).await
                };
                Event::Healed(repair)
            }));
        }
    }

    fn start_removals(&mut self) {
        let rate = self.sweep.options.delete_rate_max.filter(|_| !self.sweep.options.dry_run);
        let most = rate.map_or(T::REMOVAL_MAX, |rate| T::REMOVAL_MAX.min(rate as usize)).max(1);
        // What a removal amounts to, and so when the next one may begin, is known at its end.
        let removals_max = if rate.is_some() { 1 } else { T::REMOVALS };
        while self.removing.len() < removals_max && self.is_removal_due(most) {
            let now = self.sweep.target.monotonic();
            if let Some(pause) = self.next_removal_at.checked_sub(now).filter(|pause| !pause.is_zero()) {
                self.pause(pause);
                return;
            }
            let count = self.gathered.len().min(most);
            self.removal_began_at = now;
            let (entries, facts) = self.gathered.drain(..count).unzip();
            self.gathered_since = (!self.gathered.is_empty()).then_some(now);
            self.removing.push(Box::pin(self.sweep.remove(entries, facts)));
        }
    }

    fn is_removal_due(&self, most: usize) -> bool {
        let is_all_listed = self.shards.is_empty() && self.listings == 0;
        let has_waited = self
            .gathered_since
            .is_some_and(|since| self.sweep.target.monotonic().saturating_sub(since) >= GATHER_MAX);
        !self.gathered.is_empty() && (self.gathered.len() >= most || is_all_listed || has_waited)
    }

    fn pause(&mut self, duration: Duration) {
        if !std::mem::replace(&mut self.is_pausing, true) {
            let target = self.sweep.target;
            self.steps.push(Box::pin(async move {
                target.sleep(duration.min(PAUSE_MAX)).await;
                Event::Paused
            }));
        }
    }

    fn take(&mut self, event: Event<T>) {
        match event {
            Event::Listed(Ok(page)) => {
                self.listings -= 1;
                self.judge(page.entries);
                match page.rest {
                    // First, so that shards end one after the other.
                    Some(rest) => self.shards.push_front(rest),
                    None => self.sweep.control.note_done(self.sweep.target.monotonic()),
                }
            }
            // I6: nothing is condemned any more.
            Event::Listed(Err(error)) => {
                self.listings -= 1;
                if !is_off("i6") {
                    self.fail(error);
                }
            }
            Event::Removed(facts, outcome) => {
                let removals = outcome.unwrap_or_else(|error| {
                    self.fail(error);
                    Vec::new()
                });
                self.note_removed(facts, removals);
            }
            Event::Healed(repair) => {
                self.heals -= 1;
                match repair {
                    Ok(repair) => self.counts.note_repair(repair),
                    Err(error) => self.fail(error),
                }
            }
            Event::Paused => self.is_pausing = false,
        }
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, error: T::Error) {
        if self.end.is_ok() {
            self.end = Err(error);
        }
    }

    /// Decides about each entry of a page.
    fn judge(&mut self, entries: Vec<T::Entry>) {
        self.sweep.control.note_listed(entries.len() as u64);
        let descriptions: Vec<Description> = entries.iter().map(T::describe).collect();
        let referenced = self.note_listed(&descriptions);
        for ((entry, description), is_referenced) in entries.into_iter().zip(descriptions).zip(referenced) {
            let facts = Facts::of(&description);
            let candidate = Candidate {
                kind: description.kind,
                referenced: is_referenced,
                used_at: description.used_at,
                upload_started_at: description.upload_started_at,
                modified_at: description.modified_at,
                agreement: description.agreement,
            };
            match verdict(&candidate, self.sweep.cutoff) {
                Verdict::Keep => self.counts.of(facts.kind).kept.add(facts.size),
                Verdict::Pending => self.counts.of(facts.kind).pending.add(facts.size),
                Verdict::Condemn => {
                    self.gathered_since.get_or_insert_with(|| self.sweep.target.monotonic());
                    self.gathered.push_back((entry, facts));
                }
                Verdict::Heal => {
                    if description.agreement == Agreement::NoMarker {
                        self.counts.of(facts.kind).kept.add(facts.size);
                    }
                    self.to_heal.push_back((facts.digest, is_referenced));
                }
            }
        }
    }

    /// Counts the chunks of a page, and notes them for the audit; returns for each entry whether an index refers to its
    /// digest. A marker is no chunk.
    fn note_listed(&mut self, descriptions: &[Description]) -> Vec<bool> {
        let is_listed = |description: &&Description| {
            description.kind == EntryKind::Chunk && description.agreement != Agreement::NoObject
        };
        let mut listed = Vec::with_capacity(descriptions.len());
        for description in descriptions.iter().filter(is_listed) {
            self.counts.listed.add(description.size);
            listed.push(description.digest);
        }
        let mut visited = self.referenced.visit_all(&listed).into_iter();
        let referenced = descriptions.iter().map(|description| {
            if is_listed(&description) {
                // When in doubt, leak.
                visited.next().unwrap_or(true)
            } else {
                self.referenced.contains(&description.digest)
            }
        });
        referenced.collect()
    }

    fn note_removed(&mut self, facts: Vec<Facts>, removals: Vec<Removal>) {
        let removals = removals.into_iter().chain(std::iter::repeat(Removal::Kept));
        let (relied_on, others): (Vec<_>, Vec<_>) =
            facts.into_iter().zip(removals).partition(|(facts, removal)| {
                facts.agreement == Agreement::NoObject && *removal == Removal::Kept
            });
        // Somebody uses a marker since it was listed, and there is no object: that session must fail (hazard H16).
        self.to_heal.extend(relied_on.into_iter().map(|(facts, _)| (facts.digest, false)));
        if let Some(rate) = self.sweep.options.delete_rate_max {
            // What is in use was only looked at.
            let gone = others.iter().filter(|(_, removal)| *removal != Removal::Kept).count() as u64;
            self.next_removal_at = self.removal_began_at + Duration::from_secs(gone) / rate;
        }
        let removed = self.counts.note_removals(others.into_iter());
        self.sweep.control.note_removed(removed);
    }
}

impl<T: SweepTarget> Sweep<'_, T> {
    /// Removes a batch, or says what would go in a dry run.
    async fn remove(&self, entries: Vec<T::Entry>, facts: Vec<Facts>) -> Event<T> {
        let removals = if self.options.dry_run {
            self.target.preview(self.run, &entries).await
        } else {
            self.target.remove(self.run, entries, &|| self.control.is_cancelled()).await
        };
        Event::Removed(facts, removals)
    }
}
