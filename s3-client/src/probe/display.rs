//! A report for people: a line for each capability, and what follows from it.

use std::fmt;
use std::time::Duration;

use super::findings::{
    BucketVersions, ClockOffset, ConditionClass, Found, KeyEncoding, KeyFault, MultiDelete, Presigning,
    Ranges, Refresh, RequestBound, SignatureWindow, TagForm, Verification,
};
use super::report::{ConditionalPut, ProbeReport, SignatureAge};

/// Widths of the columns for the capability and for what was found.
const NAME_WIDTH: usize = 29;
const FOUND_WIDTH: usize = 52;

/// Most characters of a key to print.
const KEY_CHARS_MAX: usize = 100;

/// A line of the table.
struct Line {
    name: String,
    found: String,
    /// Empty if nothing does.
    follows: String,
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        self.writes(&mut lines);
        self.reads(&mut lines);
        self.times(&mut lines);
        self.settings(&mut lines);
        for Line { name, found, follows } in lines {
            let line = format!("{name:NAME_WIDTH$}  {found:FOUND_WIDTH$}  {follows}");
            writeln!(f, "{}", line.trim_end())?;
        }
        let quirks: Vec<_> = self.quirks().iter().map(crate::Quirk::name).collect();
        let quirks = if quirks.is_empty() { "none".to_owned() } else { quirks.join(", ") };
        writeln!(f, "{:NAME_WIDTH$}  {quirks}", "quirks")?;
        writeln!(f, "{:NAME_WIDTH$}  {}", "bound of deletes", self.delete_bound())?;
        writeln!(f, "{:NAME_WIDTH$}  {}", "bound of puts", self.put_bound())?;
        for warning in self.warnings() {
            writeln!(f, "{:NAME_WIDTH$}  {warning}", "warning")?;
        }
        for key in &self.remains {
            let shown: String = key.chars().take(KEY_CHARS_MAX).collect();
            let rest = if shown.len() < key.len() { "…" } else { "" };
            writeln!(f, "{:NAME_WIDTH$}  {}{rest}", "left behind", shown.escape_debug())?;
        }
        Ok(())
    }
}

impl ProbeReport {
    fn writes(&self, lines: &mut Vec<Line>) {
        let server = self.server.as_deref().unwrap_or("does not say");
        lines.push(line("server", server.escape_debug(), ""));
        let absent = &self.put_if_absent;
        lines.push(line("put if absent", absent, follows_from_absent(absent.class)));
        let swap = &self.compare_and_swap;
        let form = self.tag_form.filter(|form| *form == TagForm::Unquoted).map_or("", |_| ", unquoted tag");
        lines.push(line("compare-and-swap", format!("{swap}{form}"), follows_from_swap(swap.class)));
        let deletes = &self.deletes;
        let mut multi = deletes.multi.to_string();
        if deletes.quiet == Found::No {
            multi += ", ignores quiet mode";
        }
        if deletes.multi_reports_all == Found::No {
            multi += ", leaves keys out";
        }
        if deletes.needs_md5 == Found::Yes {
            multi += ", needs MD5";
        }
        let follows = match deletes.multi {
            MultiDelete::Works | MultiDelete::Unknown => "",
            _ => "single deletes take its place",
        };
        lines.push(line("multi-delete", multi, follows));
        lines.push(line("delete of a missing key", deletes.missing_key_is_fine.or("succeeds", "fails"), ""));
        let integrity = &self.integrity;
        for (name, verification, returned) in [
            ("checksum CRC-32C", integrity.crc32c, integrity.crc32c_returned),
            ("checksum SHA-256", integrity.sha256, integrity.sha256_returned),
        ] {
            let returned = if returned == Found::Yes { ", returned" } else { "" };
            lines.push(line(name, format!("{verification}{returned}"), follows_from_hash(verification)));
        }
        let payload = integrity.payload_hash;
        lines.push(line("payload hash", payload, follows_from_hash(payload)));
    }

    fn reads(&self, lines: &mut Vec<Line>) {
        let listing = &self.listing;
        lines.push(line("listing: encoding of keys", listing.encoding, ""));
        for (name, found, follows) in [
            ("listing: exact", listing.exact, "a collector cannot trust it"),
            ("listing: ascending", listing.ascending, "do not rely on order"),
            ("listing: pages", listing.paging, "a collector cannot trust it"),
            ("listing: page size", listing.page_size, "pages may be larger than asked for"),
            ("listing: prefix", listing.prefix, "a collector cannot trust it"),
            ("listing: delimiter", listing.delimiter, "list without it"),
            ("listing: start-after", listing.start_after, "list from the start"),
            ("listing: last-modified", listing.last_modified, "a collector cannot judge ages"),
            ("listing: tags", listing.etag, ""),
        ] {
            lines.push(line(name, found.or("right", "wrong"), if found == Found::No { follows } else { "" }));
        }
        let (tried, faults) = (self.odd_keys_tried, self.odd_keys.len());
        let count = format!("{faults} of {tried} do not work");
        lines.push(line("odd keys", count, if faults > 0 { "keep to plain keys" } else { "" }));
        for odd in &self.odd_keys {
            lines.push(line(&format!("  {}", odd.kind), &odd.fault, ""));
        }
        let reading = &self.reading;
        lines.push(line("ranges", reading.ranges, ""));
        lines.push(line("empty object", reading.empty_object.or("works", "does not work"), ""));
        lines.push(line("length in HEAD", reading.head_length.or("right", "wrong"), ""));
    }

    fn times(&self, lines: &mut Vec<Line>) {
        let signatures = &self.signatures;
        for (name, age) in [
            ("signed read", &signatures.read),
            ("signed put", &signatures.put),
            ("signed delete", &signatures.delete),
            ("signed multi-delete", &signatures.multi_delete),
        ] {
            lines.push(line(name, age, ""));
            lines.push(line("  presigned", age.presigned, ""));
        }
        let dates = &self.dates;
        let offset = dates.offset.map_or_else(|| "unknown".to_owned(), |offset| offset.to_string());
        lines.push(line("clock", offset, ""));
        let ahead = match dates.modified_ahead {
            None => "unknown".to_owned(),
            Some(Duration::ZERO) => "never after the answer's date".to_owned(),
            Some(ahead) => format!("up to {} after the answer's date", Span(ahead)),
        };
        lines.push(line("last-modified", ahead, ""));
        lines.push(line("date after putting again", dates.put_again, follows_from_refresh(dates.put_again)));
        lines.push(line("date after copy onto itself", dates.copy_onto_itself, ""));
    }

    fn settings(&self, lines: &mut Vec<Line>) {
        let bucket = &self.bucket;
        lines.push(line("old versions", bucket.versions, ""));
        let lock = match (bucket.object_lock, bucket.locks_by_default) {
            (Found::Yes, Found::Yes) => "on, locks new objects",
            (Found::Yes, _) => "on",
            (Found::No, _) => "off",
            (Found::Unknown, _) => "unknown",
        };
        lines.push(line("object lock", lock, ""));
        let lifecycle = match (bucket.expires_objects, bucket.moves_objects) {
            (Found::Yes, Found::Yes) => "deletes and moves objects",
            (Found::Yes, _) => "deletes objects",
            (_, Found::Yes) => "moves objects",
            (Found::No, _) => "leaves objects alone",
            _ => "unknown",
        };
        lines.push(line("lifecycle", lifecycle, ""));
    }
}

fn line(name: &str, found: impl fmt::Display, follows: &str) -> Line {
    Line { name: name.to_owned(), found: found.to_string(), follows: follows.to_owned() }
}

fn follows_from_absent(class: ConditionClass) -> &'static str {
    match class {
        ConditionClass::Atomic => "used for new objects",
        ConditionClass::NotAtomic { .. } => "saves uploads; no lock",
        ConditionClass::Ignored | ConditionClass::Refused { .. } => "plain puts",
        ConditionClass::Unknown => "no lock",
    }
}

fn follows_from_swap(class: ConditionClass) -> &'static str {
    if class == ConditionClass::Atomic {
        "used for the generation"
    } else {
        "write a unique value and read it back"
    }
}

fn follows_from_hash(verification: Verification) -> &'static str {
    match verification {
        Verification::Verified => "wrong uploads are refused",
        Verification::StoredAnyway => "read back what was refused",
        Verification::Ignored => "protects nothing",
        Verification::Refused { .. } => "not sent",
        Verification::Unknown => "",
    }
}

fn follows_from_refresh(refresh: Refresh) -> &'static str {
    if refresh == Refresh::Kept { "an object's age is that of its first put" } else { "" }
}

impl Found {
    fn or(self, yes: &'static str, no: &'static str) -> &'static str {
        match self {
            Found::Yes => yes,
            Found::No => no,
            Found::Unknown => "unknown",
        }
    }
}

/// `14m`, `16m 1s`, `25h`, `1.5s`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.subsec_millis() > 0 {
            return write!(f, "{:.1}s", self.0.as_secs_f64());
        }
        let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
        let parts =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
        let text = parts.collect::<Vec<_>>().join(" ");
        f.write_str(if text.is_empty() { "0s" } else { &text })
    }
}

impl fmt::Display for ConditionalPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.class.fmt(f)?;
        if matches!(self.class, ConditionClass::Atomic | ConditionClass::NotAtomic { .. }) {
            write!(f, " ({} races of {})", self.races, self.writers)?;
        }
        f.write_str(if self.losers_can_fail { ", losers may fail" } else { "" })
    }
}

impl fmt::Display for ConditionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConditionClass::Atomic => f.write_str("atomic"),
            ConditionClass::NotAtomic { winners } => write!(f, "not atomic, up to {winners} winners"),
            ConditionClass::Ignored => f.write_str("ignored"),
            ConditionClass::Refused { status } => write!(f, "refused ({status})"),
            ConditionClass::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for MultiDelete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MultiDelete::Works => f.write_str("works"),
            MultiDelete::Refused { status } => write!(f, "refused ({status})"),
            MultiDelete::Unreliable => f.write_str("does not do what it says"),
            MultiDelete::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verification::Verified => f.write_str("compared"),
            Verification::StoredAnyway => f.write_str("compared, and stored all the same"),
            Verification::Ignored => f.write_str("ignored"),
            Verification::Refused { status } => write!(f, "refused ({status})"),
            Verification::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for SignatureAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "old: {}; ahead: {}", self.behind, self.ahead)
    }
}

impl fmt::Display for SignatureWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureWindow::Bounded { accepted, refused } => {
                write!(f, "{} good, {} refused", Span(*accepted), Span(*refused))
            }
            SignatureWindow::Unbounded => f.write_str("not checked"),
            SignatureWindow::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Presigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Presigning::Enforced { late } => write!(f, "works, refused {} after its expiry", Span(*late)),
            Presigning::NotEnforced => f.write_str("works, expiry not checked"),
            Presigning::Refused { status } => write!(f, "refused ({status})"),
            Presigning::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for RequestBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestBound::Presigned { late } => write!(f, "presigned: its expiry and {}", Span(*late)),
            RequestBound::SignedHeaders { window } => write!(f, "signed headers: {}", Span(*window)),
            RequestBound::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refresh::Refreshed => f.write_str("is new"),
            Refresh::Kept => f.write_str("is the old one"),
            Refresh::Refused { status } => write!(f, "refused ({status})"),
            Refresh::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for ClockOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, uncertainty) = (self.ahead_millis, self.uncertainty_millis);
        let (seconds, uncertainty) = (millis as f64 / 1000.0, uncertainty as f64 / 1000.0);
        write!(f, "{seconds:+.1}s against ours, give or take {uncertainty:.1}s")
    }
}

impl fmt::Display for KeyEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyEncoding::Url => f.write_str("as asked"),
            KeyEncoding::Plain => f.write_str("request for it ignored"),
            KeyEncoding::Claimed => f.write_str("claimed, and not done"),
            KeyEncoding::Refused { status } => write!(f, "refused ({status})"),
            KeyEncoding::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFault::Refused { status } => write!(f, "refused ({status})"),
            KeyFault::Failed => f.write_str("no answer of S3"),
            KeyFault::Lost => f.write_str("cannot be read back"),
            // The server's text: no control characters on a terminal.
            KeyFault::Altered { listed } => write!(f, "listed as {}", listed.escape_debug()),
            KeyFault::Unlisted => f.write_str("not in listings"),
        }
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ranges::Partial => f.write_str("206"),
            Ranges::Whole => f.write_str("200 with Content-Range"),
            Ranges::Ignored => f.write_str("ignored"),
            Ranges::Wrong => f.write_str("wrong"),
            Ranges::Refused { status } => write!(f, "refused ({status})"),
            Ranges::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for BucketVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BucketVersions::Off => "not kept",
            BucketVersions::Kept => "kept",
            BucketVersions::Suspended => "kept once",
            BucketVersions::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{ClockOffset, OddKey};

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0.0, "0s"), (961.0, "16m 1s"), (90_000.0, "25h"), (1.5, "1.5s"), (5.0, "5s")]
        {
            assert_eq!(Span(Duration::from_secs_f64(seconds)).to_string(), text);
        }
    }

    #[test]
    fn every_line_has_a_name_and_a_finding() {
        let mut report = ProbeReport::default();
        report.put_if_absent.class = ConditionClass::NotAtomic { winners: 5 };
        report.dates.offset = Some(ClockOffset { ahead_millis: -1500, uncertainty_millis: 40 });
        let listed = "a\u{1b}[31m".to_owned();
        report.odd_keys.push(OddKey { kind: "plus".to_owned(), fault: KeyFault::Altered { listed } });
        let text = report.to_string();
        for line in text.lines() {
            assert!(line.len() > NAME_WIDTH, "{line}");
        }
        assert!(text.contains("not atomic, up to 5 winners"), "{text}");
        assert!(text.contains("-1.5s against ours"), "{text}");
        assert!(text.contains(r"listed as a\u{1b}[31m"), "{text}");
        assert!(text.contains("warning"), "{text}");
    }
}
