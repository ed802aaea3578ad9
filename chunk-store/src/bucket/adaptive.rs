//! How many uploads a backend takes well: found out by trying, from values alone.

use std::time::Duration;

/// Where the search starts.
const START: usize = 16;

/// Never fewer, so that one slow upload does not stop the others.
const FEWEST: usize = 4;

/// After a step that gained nothing, so many rounds pass before the next one upwards.
const ROUNDS_BETWEEN_STEPS: u32 = 16;

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The backend has the bytes.
    Stored,
    /// The backend asked for fewer requests.
    Throttled,
    /// It failed for a reason that fewer requests may help against.
    Failed,
    /// It was given up, or failed for a reason that has nothing to do with the number of requests.
    Unrelated,
}

/// One upload that has ended. Times are on a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upload {
    pub(super) started_at: Duration,
    pub(super) ended_at: Duration,
    pub(super) bytes: usize,
    pub(super) ended: Ended,
}

/// Decides how many uploads may be under way.
///
/// It measures in rounds of as many uploads as are allowed, and only while the number is what holds uploads back. A step
/// upwards that brings more throughput is followed by the next; one that does not is taken back. Throttling, failures, and
/// a latency that rises without more throughput make it fewer.
#[derive(Debug)]
pub(super) struct Adaptive {
    allowed: usize,
    fewest: usize,
    most: usize,
    /// No step upwards has failed to pay so far.
    is_first_climb: bool,
    /// What the last step, if it was one upwards, has to beat.
    before_step: Option<Round>,
    /// The round that later ones are compared with while nothing is tried.
    settled: Option<Round>,
    rounds_to_wait: u32,
    /// Uploads that began before this instant say nothing of the number as it is now.
    changed_at: Duration,
    running: Running,
}

/// What a full round showed.
#[derive(Debug, Clone, Copy)]
struct Round {
    allowed: usize,
    bytes_per_second: f64,
    latency: Duration,
}

/// A round that is under way.
#[derive(Debug, Default)]
struct Running {
    began_at: Option<Duration>,
    uploads: usize,
    bytes: u64,
    latency: Duration,
    is_held_back: bool,
}

impl Adaptive {
    /// Starts the search; the number stays between [`FEWEST`] and `most`, which is at least 1.
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            allowed: START.min(most),
            fewest: FEWEST.min(most),
            most,
            is_first_climb: true,
            before_step: None,
            settled: None,
            rounds_to_wait: 0,
            changed_at: Duration::ZERO,
            running: Running::default(),
        }
    }

    /// Returns how many uploads may be under way.
    pub(super) const fn allowed(&self) -> usize {
        self.allowed
    }

    /// Notes that an upload waits although there is room for its bytes.
    pub(super) fn note_held_back(&mut self) {
        self.running.is_held_back = true;
    }

    /// Takes note of an upload that has ended.
    pub(super) fn note(&mut self, upload: Upload) {
        match upload.ended {
            Ended::Throttled => self.back_off(upload, 2),
            Ended::Failed => self.back_off(upload, 4),
            // It began with another number.
            Ended::Stored if upload.started_at < self.changed_at => {}
            Ended::Stored => self.count(upload),
            Ended::Unrelated => {}
        }
    }

    /// Takes one part in `parts` off. Uploads that began before the last change ask for nothing new: one burst of refusals
    /// counts once.
    fn back_off(&mut self, upload: Upload, parts: usize) {
        if upload.started_at < self.changed_at {
            return;
        }
        (self.is_first_climb, self.before_step, self.settled) = (false, None, None);
        self.rounds_to_wait = ROUNDS_BETWEEN_STEPS;
        self.set(self.allowed - self.allowed.div_ceil(parts), upload.ended_at);
    }

    fn count(&mut self, upload: Upload) {
        let running = &mut self.running;
        let Some(began_at) = running.began_at else {
            // The first one only starts the round: what came before it is not known.
            running.began_at = Some(upload.ended_at);
            return;
        };
        running.uploads += 1;
        running.bytes += upload.bytes as u64;
        running.latency += upload.ended_at.saturating_sub(upload.started_at);
        if running.uploads < self.allowed {
            return;
        }
        let seconds = upload.ended_at.saturating_sub(began_at).as_secs_f64().max(1e-6);
        let round = Round {
            allowed: self.allowed,
            bytes_per_second: running.bytes as f64 / seconds,
            latency: running.latency / u32::try_from(running.uploads).unwrap_or(u32::MAX),
        };
        let was_held_back = running.is_held_back;
        self.running = Running::default();
        if was_held_back {
            self.judge(round, upload.ended_at);
        }
    }

    fn judge(&mut self, round: Round, now: Duration) {
        if let Some(before) = self.before_step.take() {
            if gains(before, round) {
                self.step_up(round, now);
            } else {
                self.is_first_climb = false;
                self.settled = Some(before);
                self.rounds_to_wait = ROUNDS_BETWEEN_STEPS;
                self.set(before.allowed, now);
            }
            return;
        }
        let settled = *self.settled.get_or_insert(round);
        let is_slower = round.latency > settled.latency * 3 / 2;
        if is_slower && round.bytes_per_second < settled.bytes_per_second * 1.1 {
            // The same work waits longer somewhere: fewer at once do no less.
            self.settled = None;
            self.rounds_to_wait = ROUNDS_BETWEEN_STEPS;
            self.set(self.allowed - self.allowed / 4, now);
        } else if self.rounds_to_wait > 0 {
            self.rounds_to_wait -= 1;
        } else {
            self.step_up(round, now);
        }
    }

    fn step_up(&mut self, round: Round, now: Duration) {
        let by = if self.is_first_climb { self.allowed } else { self.allowed.div_ceil(4) };
        if self.allowed == self.most {
            (self.settled, self.rounds_to_wait) = (Some(round), ROUNDS_BETWEEN_STEPS);
            return;
        }
        self.before_step = Some(round);
        self.set(self.allowed + by, now);
    }

    fn set(&mut self, allowed: usize, now: Duration) {
        self.allowed = allowed.clamp(self.fewest, self.most);
        self.changed_at = now;
        self.running = Running::default();
    }
}

/// Returns whether a step paid: it brought at least a quarter of what so many more uploads could bring.
fn gains(before: Round, after: Round) -> bool {
    let more_uploads = after.allowed as f64 / before.allowed as f64 - 1.0;
    after.bytes_per_second > before.bytes_per_second * (1.0 + more_uploads / 4.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNK: usize = 4 << 20;

    /// Sends uploads through a link, as many at once as are allowed; a put takes its latency and its turn on the link.
    fn after(adaptive: &mut Adaptive, uploads: usize, latency: Duration, bytes_per_second: f64) {
        let turn = Duration::from_secs_f64(CHUNK as f64 / bytes_per_second);
        let mut free_at = adaptive.changed_at;
        let mut under_way = std::collections::VecDeque::new();
        let mut now = adaptive.changed_at;
        for _ in 0..uploads {
            adaptive.note_held_back();
            while under_way.len() < adaptive.allowed() {
                free_at = free_at.max(now) + turn;
                under_way.push_back((now, free_at + latency));
            }
            let (started_at, ended_at) = under_way.pop_front().unwrap();
            now = ended_at;
            adaptive.note(Upload { started_at, ended_at, bytes: CHUNK, ended: Ended::Stored });
        }
    }

    #[test]
    fn a_distant_backend_gets_many_uploads_at_once() {
        let mut adaptive = Adaptive::new(128);
        after(&mut adaptive, 1000, Duration::from_millis(200), 1e10);
        assert_eq!(adaptive.allowed(), 128);
    }

    #[test]
    fn a_link_that_is_full_gets_no_more_than_fill_it() {
        let mut adaptive = Adaptive::new(128);
        // 12 chunks are enough to fill it.
        after(&mut adaptive, 4000, Duration::from_millis(1), 4e8);
        assert!(adaptive.allowed() <= 20, "{}", adaptive.allowed());
        let mut adaptive = Adaptive::new(128);
        // 48 are.
        after(&mut adaptive, 4000, Duration::from_millis(100), 2e9);
        assert!((32..=96).contains(&adaptive.allowed()), "{}", adaptive.allowed());
    }

    #[test]
    fn a_burst_of_refusals_counts_once_and_the_number_comes_back() {
        let mut adaptive = Adaptive::new(64);
        let second = Duration::from_secs(1);
        let refused = Upload { started_at: second, ended_at: 2 * second, bytes: 1, ended: Ended::Throttled };
        for _ in 0..10 {
            adaptive.note(refused);
        }
        assert_eq!(adaptive.allowed(), 8);
        adaptive.note(Upload {
            started_at: 3 * second,
            ended_at: 4 * second,
            ended: Ended::Failed,
            ..refused
        });
        assert_eq!(adaptive.allowed(), 6);
        after(&mut adaptive, 4000, Duration::from_millis(200), 1e10);
        assert!(adaptive.allowed() > 16, "{}", adaptive.allowed());
    }

    #[test]
    fn latency_that_rises_without_throughput_makes_it_fewer() {
        let mut adaptive = Adaptive::new(16);
        after(&mut adaptive, 200, Duration::from_millis(50), 1e10);
        assert_eq!(adaptive.allowed(), 16);
        after(&mut adaptive, 200, Duration::from_millis(500), 1e10);
        assert!(adaptive.allowed() < 16);
    }

    #[test]
    fn a_client_that_sends_little_teaches_nothing() {
        let mut adaptive = Adaptive::new(64);
        for n in 0..500 {
            let started_at = Duration::from_millis(10 * n);
            let ended_at = started_at + Duration::from_millis(5);
            adaptive.note(Upload { started_at, ended_at, bytes: CHUNK, ended: Ended::Stored });
        }
        assert_eq!(adaptive.allowed(), START);
    }

    fn ended() -> impl Strategy<Value = Ended> {
        prop_oneof![
            20 => Just(Ended::Stored),
            1 => Just(Ended::Throttled),
            1 => Just(Ended::Failed),
            1 => Just(Ended::Unrelated),
        ]
    }

    proptest! {
        #[test]
        fn the_number_keeps_its_bounds_whatever_happens(
            most in 0_usize..200,
            uploads in prop::collection::vec((0_u64..5000, 0_u64..500, any::<u32>(), ended()), 0..400),
        ) {
            let mut adaptive = Adaptive::new(most);
            let most = most.max(1);
            for (started, took, bytes, ended) in uploads {
                adaptive.note_held_back();
                let started_at = Duration::from_millis(started);
                let ended_at = started_at + Duration::from_millis(took);
                adaptive.note(Upload { started_at, ended_at, bytes: bytes as usize, ended });
                prop_assert!((FEWEST.min(most)..=most).contains(&adaptive.allowed()));
            }
        }
    }
}
