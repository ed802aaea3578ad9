//! The few objects beside the chunks, with conditional puts (S3 API reference, `PutObject`, `If-Match` and `If-None-Match`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::bucket::answer::{Answer, refusal};

/// Objects by key.
#[derive(Debug, Default)]
pub(crate) struct Files(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    writes: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) content: Bytes,
    /// In quotes, as in headers.
    pub(crate) tag: String,
}

impl State {
    fn put(&mut self, key: &str, content: Bytes) -> String {
        self.writes += 1;
        let tag = format!("\"{:032x}\"", self.writes);
        self.files.insert(key.to_owned(), File { content, tag: tag.clone() });
        tag
    }
}

impl Files {
    pub(crate) fn put(&self, key: &str, content: Bytes) {
        self.lock().put(key, content);
    }

    /// Puts an object if what the headers ask for holds.
    pub(crate) fn put_if(&self, key: &str, headers: &HeaderMap, content: Bytes) -> Answer {
        let mut state = self.lock();
        let found = state.files.get(key).map(|file| file.tag.as_str());
        let wanted = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let holds = match (wanted(header::IF_MATCH), wanted(header::IF_NONE_MATCH)) {
            (Some(tag), _) => found.is_some_and(|found| found.trim_matches('"') == tag.trim_matches('"')),
            (None, Some(_)) => found.is_none(),
            (None, None) => true,
        };
        if !holds {
            return refusal(412, "PreconditionFailed");
        }
        Answer::empty(200).with(header::ETAG, &state.put(key, content))
    }

    pub(crate) fn get(&self, key: &str) -> Answer {
        match self.lock().files.get(key) {
            Some(file) => Answer::new(200, file.content.clone()).with(header::ETAG, &file.tag),
            None => refusal(404, "NoSuchKey"),
        }
    }

    pub(crate) fn head(&self, key: &str) -> Answer {
        let answer = self.get(key);
        answer.without_body()
    }

    pub(crate) fn remove(&self, key: &str) {
        self.lock().files.remove(key);
    }

    /// Objects whose keys begin with `prefix` and lie behind `after`.
    pub(crate) fn below(&self, prefix: &str, after: &str) -> Vec<(String, File)> {
        let state = self.lock();
        let behind = state.files.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let behind = behind.filter(|(key, _)| key.as_str() > after);
        behind.map(|(key, file)| (key.clone(), file.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
