//! Faults by chance, from one seed.

use bytes::Bytes;

use super::{Answer, EarlyEnd, End, Fault, FaultKind};
use crate::choices::Choices;
use crate::gate::Gate;

/// How often each kind of fault is drawn, in requests of a thousand; the rest passes.
///
/// Which fault the n-th request gets depends on the seed and n alone. Kinds that end only when a test or the client ends them
/// (`Delay`, `StallUpload`, `StallBody`, `Endless`) are drawn only if asked for.
#[derive(Clone, Debug)]
pub struct Odds {
    per_mille: Vec<(FaultKind, u16)>,
    late_after: usize,
}

impl Odds {
    /// No faults.
    pub fn none() -> Odds {
        Odds { per_mille: Vec::new(), late_after: 3 }
    }

    /// Every kind that a client survives by itself, each this often.
    pub fn each(per_mille: u16) -> Odds {
        SELF_ENDING.iter().fold(Odds::none(), |odds, kind| odds.with(*kind, per_mille))
    }

    /// Every kind that a client survives by itself, in equal parts, so often in all.
    pub fn in_all(per_mille: u16) -> Odds {
        Odds::each(per_mille / SELF_ENDING.len() as u16)
    }

    /// Sets how often one kind is drawn.
    ///
    /// # Panics
    /// Where all kinds together are drawn more often than always.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, per_mille: u16) -> Odds {
        self.per_mille.retain(|(known, _)| *known != kind);
        self.per_mille.push((kind, per_mille));
        let sum: u32 = self.per_mille.iter().map(|(_, share)| u32::from(*share)).sum();
        assert!(sum <= 1000, "{sum} of 1000 requests would get a fault");
        self
    }

    /// Lets the effect of a late request happen once so many further requests have come (3 unless told).
    #[must_use]
    pub fn late_after(mut self, requests: usize) -> Odds {
        self.late_after = requests;
        self
    }

    pub(crate) fn late_requests(&self) -> usize {
        self.late_after
    }

    /// The fault of the `n`-th request.
    pub(crate) fn draw(&self, seed: u64, n: u64) -> Fault {
        let mut random = Draw::of(seed, n);
        let mut ticket = random.below(1000) as u16;
        for (kind, share) in &self.per_mille {
            if ticket < *share {
                return make(*kind, &mut random);
            }
            ticket -= share;
        }
        Fault::Pass
    }
}

const SELF_ENDING: &[FaultKind] = &[
    FaultKind::ResetAtHead,
    FaultKind::ResetInBody,
    FaultKind::LostReply,
    FaultKind::Answer,
    FaultKind::AnswerAfter,
    FaultKind::Late,
    FaultKind::CloseAfter,
    FaultKind::EarlyAnswer,
    FaultKind::CutBody,
    FaultKind::WrongLength,
    FaultKind::Garbage,
    FaultKind::Continues,
];

fn make(kind: FaultKind, random: &mut Draw) -> Fault {
    match kind {
        FaultKind::Pass => Fault::Pass,
        FaultKind::Delay => Fault::Delay(Gate::closed()),
        FaultKind::ResetAtHead => Fault::ResetAtHead,
        FaultKind::ResetInBody => Fault::ResetInBody { after: random.offset() },
        FaultKind::StallUpload => Fault::StallUpload { after: random.offset() },
        FaultKind::LostReply => Fault::LostReply(random.end()),
        FaultKind::Answer => Fault::Answer(random.answer()),
        FaultKind::AnswerAfter => Fault::AnswerAfter(random.answer()),
        FaultKind::Late => {
            let answer = if random.below(2) == 0 { None } else { Some(Answer::error(504, "GatewayTimeout")) };
            Fault::Late { answer, gate: Gate::closed() }
        }
        FaultKind::CloseAfter => Fault::CloseAfter,
        FaultKind::EarlyAnswer => Fault::EarlyAnswer { answer: random.answer(), end: EarlyEnd::Reset },
        FaultKind::CutBody => Fault::CutBody { after: random.offset(), end: random.end() },
        FaultKind::StallBody => Fault::StallBody { after: random.offset() },
        FaultKind::WrongLength => Fault::WrongLength(if random.below(2) == 0 { 7 } else { -7 }),
        FaultKind::Endless => Fault::endless_body(""),
        FaultKind::Garbage => Fault::Garbage(Bytes::from_static(b"\x16\x03\x01 no HTTP at all\r\n\r\n")),
        FaultKind::Continues => Fault::Continues(1 + random.below(5) as u32),
    }
}

/// What is chosen for one request.
struct Draw(Choices);

impl Draw {
    fn of(seed: u64, n: u64) -> Draw {
        let mut outer = Choices::new(seed);
        Draw(Choices::new(outer.number() ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    /// A place in a body: early ones often, so that small bodies are cut too.
    fn offset(&mut self) -> u64 {
        let bits = self.below(22);
        self.below(1 << bits) as u64
    }

    fn end(&mut self) -> End {
        if self.below(2) == 0 { End::Close } else { End::Reset }
    }

    fn answer(&mut self) -> Answer {
        match self.below(5) {
            0 => Answer::error(500, "InternalError"),
            1 => Answer::error(503, "SlowDown").header("Retry-After", "1"),
            2 => Answer::error(503, "SlowDown"),
            3 => Answer::error(429, "TooManyRequests"),
            _ => {
                Answer::new(502, "<html><body>Bad Gateway</body></html>").header("Content-Type", "text/html")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_request() {
        let odds = Odds::each(50);
        let draw = |seed| (0..500).map(|n| format!("{:?}", odds.draw(seed, n).kind())).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn odds_are_kept() {
        let odds = Odds::none().with(FaultKind::LostReply, 250);
        let lost = (0..4000).filter(|n| odds.draw(7, *n).kind() == FaultKind::LostReply).count();
        assert!((900..1100).contains(&lost), "{lost} of 4000");
        assert!((0..4000).all(|n| Odds::none().draw(7, n).kind() == FaultKind::Pass));
    }
}
