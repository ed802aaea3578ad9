//! Events in plain English.

use std::fmt;

use super::{Event, Filling, Healing, Judgement, Landing, LimboEnd, Opening, Reading, Stop};

fn digest_name(digest: u8) -> char {
    char::from(b'd' + digest)
}

fn path_name(path: u8) -> &'static str {
    match path {
        0 => "the earlier snapshot",
        1 => "snapshot 1",
        _ => "snapshot 2",
    }
}

/// `d`, `e`, or `d and e`.
struct Digests(u8);

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 & 3 {
            0 => "nothing",
            1 => "d",
            2 => "e",
            _ => "d and e",
        })
    }
}

fn host_name(host: u8) -> &'static str {
    if host == 0 { "server A" } else { "server B" }
}

fn session_name(session: u8) -> &'static str {
    if session == 0 { "session 1" } else { "session 2" }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Event::SessionBegins { session, host, based } => {
                write!(f, "{} begins on {}", session_name(session), host_name(host))?;
                f.write_str(if based { " and builds on the earlier snapshot" } else { "" })
            }
            Event::Known { .. }
            | Event::SeesMarker { .. }
            | Event::Sends { .. }
            | Event::Believes { .. }
            | Event::Lands { .. }
            | Event::StartsOver { .. }
            | Event::RemovesUploadMarker { .. }
            | Event::Places { .. }
            | Event::UploadFails { .. } => self.upload(f),
            Event::Indexed { .. }
            | Event::TokenOurs { .. }
            | Event::TokenForeign { .. }
            | Event::TokenNotRead { .. }
            | Event::SendsManifest { .. }
            | Event::ManifestAnswered { .. }
            | Event::ManifestUnclear { .. }
            | Event::Committed { .. }
            | Event::Aborts { .. } => self.commit(f),
            Event::RunStarts { .. }
            | Event::ReadsPath { .. }
            | Event::CutoffLate { .. }
            | Event::Stops { .. }
            | Event::Lists { .. }
            | Event::Judges { .. }
            | Event::RunEnds { .. }
            | Event::Cancels { .. }
            | Event::Asks { .. }
            | Event::Heals { .. } => self.run(f),
            Event::Journals { .. }
            | Event::RemovesMarkers { .. }
            | Event::Proposes { .. }
            | Event::Swaps { .. }
            | Event::SwapTakenForOurs { .. }
            | Event::TakesBack { .. }
            | Event::FindsForeign { .. }
            | Event::SendsDeletes { .. }
            | Event::DeleteAnswered { .. }
            | Event::DeleteUnclear { .. }
            | Event::GivesUp { .. }
            | Event::Settles { .. }
            | Event::LimboEnds { .. }
            | Event::TakesMutex { .. } => self.batch(f),
            Event::DeleteTakesEffect { .. }
            | Event::ManifestTakesEffect { .. }
            | Event::PruneTakesEffect { .. }
            | Event::KeyRefused { .. }
            | Event::Tick { .. } => self.backend(f),
            Event::Prunes { .. }
            | Event::PruneAnswered { .. }
            | Event::PruneUnclear { .. }
            | Event::Fetches { .. }
            | Event::Fills { .. }
            | Event::ChoosesEviction { .. }
            | Event::Evicts { .. }
            | Event::FindsBad { .. }
            | Event::SetsAside { .. }
            | Event::DropsSuspicion { .. } => self.chore(f),
            _ => self.process(f),
        }
    }
}

impl Event {
    fn upload(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Known { session, digest, took_out } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                write!(f, "{name} finds the marker of {digest} and is told that {digest} is stored")?;
                f.write_str(if took_out { "; it takes it out of the batch" } else { "" })
            }
            Event::SeesMarker { session, digest } => {
                write!(f, "{} sees the marker of {}", session_name(session), digest_name(digest))
            }
            Event::Sends { session, digest, is_reference, has_upload_marker } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                let first =
                    if has_upload_marker { "sets the upload marker of" } else { "sets no upload marker for" };
                let then = if is_reference { "asks the backend for it" } else { "sends it" };
                write!(f, "{name} {first} {digest} and {then}")
            }
            Event::Believes { session, digest } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                write!(f, "{name} names {digest}, which has no marker, and is believed")
            }
            Event::Lands { session, digest, what } => {
                let digest = digest_name(digest);
                write!(f, "the backend ")?;
                match what {
                    Landing::Written => write!(f, "writes {digest}"),
                    Landing::AlreadyThere => write!(f, "finds {digest} already there"),
                    Landing::Overwritten => {
                        write!(f, "finds {digest} already there, but bad: it is overwritten")
                    }
                    Landing::BadTakenForGood => {
                        write!(f, "finds {digest} already there; it is bad, and nobody looks")
                    }
                    Landing::Found => write!(f, "has {digest}"),
                    Landing::NotFound => {
                        write!(f, "lacks {digest}: the reference is refused and the session fails")
                    }
                }?;
                write!(f, " ({})", session_name(session))
            }
            Event::StartsOver { session, digest } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                write!(f, "{name} learns that {digest} was in the journal meanwhile, and starts over")
            }
            Event::RemovesUploadMarker { session, digest } => {
                write!(f, "{} removes the upload marker of {}", session_name(session), digest_name(digest))
            }
            Event::Places { session, digest } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                write!(f, "{name} places the marker of {digest} and is told that {digest} is stored")
            }
            Event::UploadFails { session, digest } => {
                let (name, digest) = (session_name(session), digest_name(digest));
                write!(f, "{name} gets no answer to the upload of {digest} and fails")
            }
            _ => Ok(()),
        }
    }

    fn commit(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Indexed { session } => {
                write!(f, "{} puts its index and signs its manifest", session_name(session))
            }
            Event::TokenOurs { session, again } => {
                let again = if again { " again" } else { "" };
                write!(f, "{} reads the token{again}: ours", session_name(session))
            }
            Event::TokenForeign { session } => {
                write!(f, "{} reads the token: foreign. The store closes", session_name(session))
            }
            Event::TokenNotRead { session } => {
                write!(f, "{} does not look at the token", session_name(session))
            }
            Event::SendsManifest { session } => write!(f, "{} sends its manifest", session_name(session)),
            Event::ManifestAnswered { session, refused: false } => {
                write!(f, "the manifest of {} is acknowledged", session_name(session))
            }
            Event::ManifestAnswered { session, refused: true } => {
                write!(f, "the manifest of {} is refused: expired. The session fails", session_name(session))
            }
            Event::ManifestUnclear { session } => {
                write!(f, "{} gets no answer to its manifest and fails", session_name(session))
            }
            Event::Committed { session } => {
                write!(f, "{} is told that its snapshot is committed", session_name(session))
            }
            Event::Aborts { session } => write!(f, "{} aborts", session_name(session)),
            _ => Ok(()),
        }
    }

    fn run(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::RunStarts { host, cutoff } => {
                write!(f, "{} starts a run; its cutoff is {cutoff}", host_name(host))
            }
            Event::ReadsPath { host, path, what } => {
                write!(f, "{}'s run looks at {}: ", host_name(host), path_name(path))?;
                f.write_str(match what {
                    Reading::Nothing => "nothing there",
                    Reading::Index => "its chunks are referenced",
                    Reading::WithoutManifest => "an index without manifest, its chunks are referenced",
                    Reading::NotCounted => "an index without manifest, which does not count",
                    Reading::Removed => "an index that nobody will complete, which is removed",
                    Reading::Unreadable => "its index cannot be read, and is passed over",
                })
            }
            Event::CutoffLate { host, cutoff } => {
                write!(f, "{} fixes the cutoff of its run: {cutoff}", host_name(host))
            }
            Event::Stops { host, why } => {
                let name = host_name(host);
                match why {
                    Stop::Index => write!(f, "{name}'s run meets an unreadable index and stops"),
                    Stop::Listing => {
                        write!(f, "{name}'s listing of snapshots is cut short and the run stops")
                    }
                    Stop::CutIgnored => {
                        write!(f, "{name}'s listing of snapshots is cut short, and the run goes on")
                    }
                }
            }
            Event::Lists { host, digest, is_there } => {
                let object = if is_there { "its object is there" } else { "there is no object" };
                write!(f, "{}'s run lists the page of {}: {object}", host_name(host), digest_name(digest))
            }
            Event::Judges { host, digest, what } => {
                write!(f, "{}'s run judges {}: ", host_name(host), digest_name(digest))?;
                f.write_str(match what {
                    Judgement::Journalled => "it is in the journal",
                    Judgement::Referenced => "referenced",
                    Judgement::Tidied => "referenced; an old upload marker is removed",
                    Judgement::UploadMarker => "kept for its upload marker",
                    Judgement::Marker => "kept for its marker",
                    Judgement::Nothing => "nothing to do",
                    Judgement::Chosen => "to be condemned",
                    Judgement::Condemned => "condemned",
                    Judgement::ToHeal => "object and marker disagree",
                })
            }
            Event::RunEnds { host } => write!(f, "{}'s run ends", host_name(host)),
            Event::Cancels { host } => write!(f, "{}'s run is cancelled", host_name(host)),
            Event::Asks { host, digest, is_there } => {
                let answer = if is_there { "it is there" } else { "it is not there" };
                write!(f, "{} asks the backend for {}: {answer}", host_name(host), digest_name(digest))
            }
            Event::Heals { host, digest, what } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                match what {
                    Healing::MarkerCreated => write!(f, "{name} heals {digest}: it creates the marker"),
                    Healing::MarkerRemoved => write!(f, "{name} heals {digest}: it removes the marker"),
                    Healing::Nothing => write!(f, "{name} finds nothing to heal in {digest}"),
                }
            }
            _ => Ok(()),
        }
    }

    fn batch(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Journals { host, digests, expiry } => {
                let digests = Digests(digests);
                write!(f, "{} journals {digests}; the deletes expire after tick {expiry}", host_name(host))
            }
            Event::RemovesMarkers { host, digests } => {
                write!(f, "{} removes the markers of {}", host_name(host), Digests(digests))
            }
            Event::Proposes { host, token } => {
                write!(f, "{} notes token {token} as proposed", host_name(host))
            }
            Event::Swaps { host, token } => write!(f, "{} swaps the token for {token}", host_name(host)),
            Event::SwapTakenForOurs { host } => {
                let name = host_name(host);
                write!(f, "{name}'s swap fails, the answer is lost, and it takes the token for its own")
            }
            Event::TakesBack { host, token } => {
                write!(f, "{} finds a foreign token and swaps that for {token}", host_name(host))
            }
            Event::FindsForeign { host } => {
                write!(f, "{} finds a foreign token. The store closes", host_name(host))
            }
            Event::SendsDeletes { host, digests, again } => {
                let again = if again { " again" } else { "" };
                write!(f, "{} sends the delete of {}{again}", host_name(host), Digests(digests))
            }
            Event::DeleteAnswered { host, digest, refused } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                let answer = if refused { "refused" } else { "deleted" };
                write!(f, "{name} gets the answer for {digest}: {answer}")
            }
            Event::DeleteUnclear { host, digest } => {
                write!(f, "{} gets no answer to the delete of {}", host_name(host), digest_name(digest))
            }
            Event::GivesUp { host, digest } => {
                write!(f, "{} gives up on {}", host_name(host), digest_name(digest))
            }
            Event::Settles { host, digests, limbo } => {
                write!(f, "{} settles {}", host_name(host), Digests(digests & !limbo))?;
                if limbo == 0 { Ok(()) } else { write!(f, "; {} is in limbo", Digests(limbo)) }
            }
            Event::LimboEnds { host, digest, why } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                match why {
                    LimboEnd::Expired => {
                        write!(f, "{name} sees that the delete of {digest} has expired and settles it")
                    }
                    LimboEnd::AtOnce => write!(f, "{name} settles {digest} without waiting for the expiry"),
                    LimboEnd::ClockJumped => write!(
                        f,
                        "{name}'s local clock jumps ahead; it believes that the delete of {digest} has expired and settles it"
                    ),
                }
            }
            Event::TakesMutex { host, digest } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                write!(f, "{name} takes the mutex of the store, finds {digest} unused and sends its delete")
            }
            _ => Ok(()),
        }
    }

    fn backend(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::DeleteTakesEffect { digest, late } => {
                let late = if late { "late, nobody waits for it: " } else { "" };
                write!(f, "{late}the delete of {} takes effect", digest_name(digest))
            }
            Event::ManifestTakesEffect { session, path, late } => {
                let late = if late { "late, nobody waits for it: " } else { "" };
                write!(f, "{late}the manifest of {} is written to {}", session_name(session), path_name(path))
            }
            Event::PruneTakesEffect { path, late } => {
                let late = if late { "late, nobody waits for it: " } else { "" };
                write!(f, "{late}the removal of {} takes effect", path_name(path))
            }
            Event::KeyRefused { digest } => {
                write!(f, "the backend refuses the delete of {}", digest_name(digest))
            }
            Event::Tick { now } => write!(f, "tick {now}: what was signed before is refused from now on"),
            _ => Ok(()),
        }
    }

    fn chore(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Prunes { host, path, promised } => {
                let on = if promised { "" } else { ", which it does not own any more," };
                write!(f, "{}{on} is asked to remove {} and sends that", host_name(host), path_name(path))
            }
            Event::PruneAnswered { host, path } => {
                write!(f, "{} learns that {} is gone", host_name(host), path_name(path))
            }
            Event::PruneUnclear { host, path } => {
                write!(f, "{} gets no answer to the removal of {}", host_name(host), path_name(path))
            }
            Event::Fetches { host, digest } => {
                write!(f, "a reader on {} fetches {}", host_name(host), digest_name(digest))
            }
            Event::Fills { host, digest, what } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                match what {
                    Filling::Filled => write!(f, "the reader on {name} fills the marker of {digest}"),
                    Filling::Created => write!(
                        f,
                        "the reader on {name} puts {digest} into the cache: a marker comes into being"
                    ),
                    Filling::Gone => write!(f, "the reader on {name} finds no marker of {digest} to fill"),
                }
            }
            Event::ChoosesEviction { host, digest } => {
                write!(f, "{}'s evictor chooses {}", host_name(host), digest_name(digest))
            }
            Event::Evicts { host, digest, what } => {
                let (name, digest) = (host_name(host), digest_name(digest));
                match what {
                    Filling::Filled => write!(f, "{name}'s evictor empties the marker of {digest}"),
                    Filling::Created => write!(
                        f,
                        "{name}'s evictor renames an empty file over {digest}, which has no marker any more"
                    ),
                    Filling::Gone => write!(f, "{name}'s evictor finds that the marker of {digest} is gone"),
                }
            }
            Event::FindsBad { host, digest, damaged } => {
                let why =
                    if damaged { "one body of {} that was damaged on the way" } else { "that {} is bad" };
                let why = why.replace("{}", &digest_name(digest).to_string());
                write!(f, "{}'s verification finds {why}", host_name(host))
            }
            Event::SetsAside { host, digest } => {
                write!(f, "{} condemns {} to be set aside", host_name(host), digest_name(digest))
            }
            Event::DropsSuspicion { host, digest } => {
                write!(
                    f,
                    "{} finds that {} was replaced or is going already",
                    host_name(host),
                    digest_name(digest)
                )
            }
            _ => Ok(()),
        }
    }

    fn process(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Crash { host } => write!(f, "{} crashes", host_name(host)),
            Event::PowerLoss { host, back, lost } => {
                write!(f, "{} loses power", host_name(host))?;
                if back != 0 {
                    write!(f, "; files of {} that were removed are back", Digests(back))?;
                }
                if lost != 0 {
                    write!(f, "; files of {} that were new are lost", Digests(lost))?;
                }
                Ok(())
            }
            Event::Opens { host, how } => {
                write!(f, "{} starts", host_name(host))?;
                f.write_str(match how {
                    Opening::Ours => " and finds its own token; it proposes the next",
                    Opening::Trusted => {
                        " and finds a foreign token, but trusts its local state; it proposes the next"
                    }
                    Opening::Compared => ", finds its own token and opens",
                    Opening::Foreign => " and finds a foreign token; it proposes the next, for a rebuild",
                    Opening::Plain => ", replays what it has and opens",
                })
            }
            Event::OpensOn { host } => {
                write!(f, "{} swaps the token, replays its journal and opens", host_name(host))
            }
            Event::OpenRefused { host } => {
                write!(f, "{} finds yet another token and gives up", host_name(host))
            }
            Event::RebuildWaits { host } => {
                write!(f, "{} swaps the token and waits until earlier requests have expired", host_name(host))
            }
            Event::RebuildLists { host, objects } => {
                write!(f, "{} lists the bucket: {}", host_name(host), Digests(objects))
            }
            Event::RebuildSwitches { host } => {
                write!(f, "{} switches to markers of what it listed, and opens", host_name(host))
            }
            Event::WallAhead { host, now } => {
                write!(f, "the wall clock of {} leaps ahead; its clock says {now}", host_name(host))
            }
            Event::WallBack { host, now } => {
                write!(
                    f,
                    "the wall clock of {} is set back while it is down; its clock says {now}",
                    host_name(host)
                )
            }
            Event::ClockBack { host, now } => {
                write!(f, "the wall clock of {} is set back; its clock says {now}", host_name(host))
            }
            Event::CopiesDisk => f.write_str("the disk of server A is copied"),
            Event::RestoresDisk => f.write_str("server A's disk is replaced by the copy"),
            Event::ClonesDisk => f.write_str("the copy of the disk is given to server B"),
            _ => Ok(()),
        }
    }
}
