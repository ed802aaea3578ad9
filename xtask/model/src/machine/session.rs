//! Sessions: insert (R1–R4), reference (R5), commit (R10).

use super::{Machine, Steps, push};
use crate::event::{Event, Landing};
use crate::rules::Rule;
use crate::scenario::{Begin, Item, Writer};
use crate::state::{INDEX, Kind, Object, Progress, Request, SESSIONS, Stage, State, Up, bit, has};

impl Machine {
    pub(super) fn session_steps(&self, state: &State, out: &mut Steps) {
        for (i, writer) in self.scenario.writers.iter().enumerate().take(SESSIONS) {
            let host = &state.hosts[usize::from(writer.host)];
            if host.up != Up::Open {
                continue;
            }
            let session = &state.sessions[i];
            match session.stage {
                Stage::Unborn => self.begin(state, i, writer, out),
                Stage::Ready => match writer.script.get(usize::from(session.done)) {
                    Some(item) => self.start_item(state, i, *item, out),
                    None => self.put_index(state, i, writer, out),
                },
                Stage::Known | Stage::Sent | Stage::Landed | Stage::Bare => {
                    let item = writer.script[usize::from(session.done)];
                    self.go_on(state, i, item, out);
                }
                Stage::Indexed | Stage::Checked | Stage::Written => self.commit(state, i, writer, out),
                Stage::Manifest | Stage::Committed | Stage::Failed => {}
            }
            if session.is_open() && state.budget.aborts > 0 {
                let mut next = *state;
                next.budget.aborts -= 1;
                next.fail(i);
                push(out, Event::Aborts { session: i as u8 }, next);
            }
        }
    }

    fn begin(&self, state: &State, i: usize, writer: &Writer, out: &mut Steps) {
        let other = &state.sessions[1 - i];
        let may = match writer.begin {
            Begin::Anytime => true,
            Begin::AfterOther => matches!(other.stage, Stage::Committed | Stage::Failed),
            Begin::AfterRun => state.has_run,
        };
        let path = usize::from(writer.path);
        // R19: a path with a request under way is closed; one that exists is not written twice.
        let closed = self.keeps(Rule::R19Path) && state.is_closed_path(usize::from(writer.host), path);
        // Whoever removes a snapshot holds its path until the answer is there.
        let is_going = state.wire.iter().any(|(_, request)| {
            request.kind == Kind::Prune
                && request.progress != Progress::Orphan
                && usize::from(request.what) == path
                && request.from == writer.host
        });
        if !may || closed || is_going || state.bucket.manifest[path] != 0 {
            return;
        }
        let mut next = *state;
        // R5: whoever asked for the base's removal took its promise back.
        let based = writer.based && state.promised[0] != 0 && state.bucket.index[0] & INDEX != 0;
        let session = &mut next.sessions[i];
        session.stage = Stage::Ready;
        session.started = state.hosts[usize::from(writer.host)].now;
        session.based = based;
        session.told = if based { state.bucket.index[0] & !INDEX } else { 0 };
        self.save_clock(&mut next, usize::from(writer.host));
        push(out, Event::SessionBegins { session: i as u8, host: writer.host, based }, next);
    }

    /// Starts an insert or a reference, under lock(d).
    fn start_item(&self, state: &State, i: usize, item: Item, out: &mut Steps) {
        let digest = item.digest();
        let host_id = usize::from(self.scenario.writers[i].host);
        let host = &state.hosts[host_id];
        let is_reference = matches!(item, Item::Refer(_));
        if !host.is_free(digest) || (host.journal[digest] != 0 && self.keeps(Rule::R8Wait)) {
            return;
        }
        let mut next = *state;
        let (session, digest_id) = (i as u8, digest as u8);
        if host.disk.marker[digest].is_there() {
            if !self.keeps(Rule::R2OneStep) {
                next.sessions[i].stage = Stage::Known;
                push(out, Event::SeesMarker { session, digest: digest_id }, next);
                return;
            }
            let took_out = self.use_marker(&mut next, i, item);
            push(out, Event::Known { session, digest: digest_id, took_out }, next);
            return;
        }
        self.take_out(&mut next, host_id, digest);
        if is_reference && !self.keeps(Rule::R5Lookup) {
            next.sessions[i].told |= bit(digest);
            next.sessions[i].done += 1;
            push(out, Event::Believes { session, digest: digest_id }, next);
            return;
        }
        let has_upload_marker = self.keeps(Rule::R1);
        let now = self.use_at(&mut next, host_id);
        let files = &mut next.hosts[host_id].disk;
        if has_upload_marker {
            files.uploading[digest].set(now);
        }
        if !self.keeps(Rule::R4Last) {
            files.marker[digest].set(now);
        }
        next.sessions[i].dirty = has_upload_marker && host.journal[digest] != 0;
        next.sessions[i].stage = Stage::Sent;
        push(out, Event::Sends { session, digest: digest_id, is_reference, has_upload_marker }, next);
    }

    /// Refreshes a marker that is there; says whether the digest was taken out of a batch.
    fn use_marker(&self, next: &mut State, i: usize, item: Item) -> bool {
        let digest = item.digest();
        let host = usize::from(self.scenario.writers[i].host);
        let refresh = if matches!(item, Item::Refer(_)) { Rule::R5Refresh } else { Rule::R2Refresh };
        let took_out = self.take_out(next, host, digest);
        let now = self.use_at(next, host);
        let marker = &mut next.hosts[host].disk.marker[digest];
        if self.keeps(refresh) && marker.is_there() {
            marker.set(now);
        }
        next.sessions[i].told |= bit(digest);
        next.sessions[i].done += 1;
        next.sessions[i].stage = Stage::Ready;
        took_out
    }

    /// R8: a condemned digest that is used leaves the batch.
    fn take_out(&self, next: &mut State, host: usize, digest: usize) -> bool {
        let host = &mut next.hosts[host];
        let is_condemned = has(host.condemned, digest) && self.keeps(Rule::R8TakeOut);
        if is_condemned {
            host.condemned &= !bit(digest);
        }
        is_condemned
    }

    fn go_on(&self, state: &State, i: usize, item: Item, out: &mut Steps) {
        let (session, digest) = (i as u8, item.digest());
        let digest_id = digest as u8;
        let host_id = usize::from(self.scenario.writers[i].host);
        let mut next = *state;
        match state.sessions[i].stage {
            Stage::Known if state.hosts[host_id].is_free(digest) => {
                let took_out = self.use_marker(&mut next, i, item);
                push(out, Event::Known { session, digest: digest_id, took_out }, next);
            }
            Stage::Sent => self.land(state, i, item, out),
            Stage::Landed if state.hosts[host_id].is_free(digest) => {
                // R4: an acknowledgement from before a delete says nothing.
                if state.sessions[i].dirty && self.keeps(Rule::R4Journal) {
                    next.sessions[i].stage = Stage::Ready;
                    next.sessions[i].dirty = false;
                    push(out, Event::StartsOver { session, digest: digest_id }, next);
                } else if self.keeps(Rule::R4OneStep) {
                    self.place(&mut next, i, digest);
                    push(out, Event::Places { session, digest: digest_id }, next);
                } else {
                    next.sessions[i].stage = Stage::Bare;
                    next.hosts[host_id].disk.uploading[digest].remove();
                    push(out, Event::RemovesUploadMarker { session, digest: digest_id }, next);
                }
            }
            Stage::Bare if state.hosts[host_id].is_free(digest) => {
                self.place(&mut next, i, digest);
                push(out, Event::Places { session, digest: digest_id }, next);
            }
            _ => {}
        }
        if state.sessions[i].is_uploading() && state.budget.failed_uploads > 0 {
            let mut next = *state;
            next.budget.failed_uploads -= 1;
            if !self.keeps(Rule::R4Failed) {
                next.hosts[host_id].disk.uploading[digest].remove();
            }
            next.fail(i);
            push(out, Event::UploadFails { session, digest: digest_id }, next);
        }
    }

    fn place(&self, next: &mut State, i: usize, digest: usize) {
        let host_id = usize::from(self.scenario.writers[i].host);
        self.take_out(next, host_id, digest);
        let now = self.use_at(next, host_id);
        let host = &mut next.hosts[host_id];
        host.disk.marker[digest].set(now);
        host.disk.uploading[digest].remove();
        let session = &mut next.sessions[i];
        session.told |= bit(digest);
        session.done += 1;
        session.stage = Stage::Ready;
        session.dirty = false;
    }

    /// The backend answers a put or a HEAD. That a put arrives even later is left out: one more good object harms nobody.
    fn land(&self, state: &State, i: usize, item: Item, out: &mut Steps) {
        let digest = item.digest();
        let mut next = *state;
        next.sessions[i].stage = Stage::Landed;
        let what = match (item, state.bucket.objects[digest]) {
            (Item::Refer(_), Object::Absent) => {
                next.fail(i);
                Landing::NotFound
            }
            (Item::Refer(_), _) => Landing::Found,
            (Item::Insert(_), Object::Absent) => {
                next.bucket.objects[digest] = Object::Good;
                Landing::Written
            }
            (Item::Insert(_), Object::Good) => Landing::AlreadyThere,
            (Item::Insert(_), Object::Bad) if self.keeps(Rule::R3) => {
                next.bucket.objects[digest] = Object::Good;
                Landing::Overwritten
            }
            (Item::Insert(_), Object::Bad) => Landing::BadTakenForGood,
        };
        push(out, Event::Lands { session: i as u8, digest: digest as u8, what }, next);
    }

    /// Puts the index and signs the manifest; its path is claimed on disk first (R19).
    fn put_index(&self, state: &State, i: usize, writer: &Writer, out: &mut Steps) {
        if writer.commits_after_run && !state.has_run {
            return;
        }
        let path = usize::from(writer.path);
        let mut next = *state;
        next.bucket.index[path] = writer.script.iter().fold(INDEX, |set, item| set | bit(item.digest()));
        next.sessions[i].stage = Stage::Indexed;
        next.sessions[i].expiry = state.bucket.now;
        next.hosts[usize::from(writer.host)].disk.claims[path] = state.bucket.now + 1;
        push(out, Event::Indexed { session: i as u8 }, next);
    }

    fn commit(&self, state: &State, i: usize, writer: &Writer, out: &mut Steps) {
        let (session, host, path) = (i as u8, usize::from(writer.host), usize::from(writer.path));
        let mut next = *state;
        match state.sessions[i].stage {
            Stage::Indexed | Stage::Written => {
                let again = state.sessions[i].stage == Stage::Written;
                let rule = if again { Rule::R10ReadAfter } else { Rule::R10ReadBefore };
                let is_read = self.keeps(rule) && self.scenario.has_generation;
                if is_read && !self.is_owner(state, host) {
                    self.close(&mut next, host);
                    push(out, Event::TokenForeign { session }, next);
                    return;
                }
                let event = match (again, is_read) {
                    (true, _) => Event::Committed { session },
                    (false, true) => Event::TokenOurs { session, again },
                    (false, false) => Event::TokenNotRead { session },
                };
                if again {
                    next.promised[path] = session + 1;
                    next.hosts[host].disk.claims[path] = 0;
                    next.sessions[i].fail();
                    next.sessions[i].stage = Stage::Committed;
                } else {
                    next.sessions[i].stage = Stage::Checked;
                }
                push(out, event, next);
            }
            Stage::Checked => {
                let mut expiry = state.sessions[i].expiry;
                if !self.keeps(Rule::R10SignBefore) {
                    expiry = state.bucket.now;
                    next.hosts[host].disk.claims[path] = expiry + 1;
                }
                if expiry < state.bucket.now {
                    // Too late: it would be refused.
                    next.fail(i);
                    push(out, Event::ManifestAnswered { session, refused: true }, next);
                    return;
                }
                next.sessions[i].stage = Stage::Manifest;
                next.wire.send(Request {
                    kind: Kind::Manifest,
                    what: writer.path,
                    from: session,
                    expiry,
                    progress: Progress::Pending,
                });
                push(out, Event::SendsManifest { session }, next);
            }
            _ => {}
        }
    }
}
