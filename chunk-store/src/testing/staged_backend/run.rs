//! How requests are carried out as the rules say.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::StagedBackend;
use super::held::{Decision, HeldRequest};
use super::rules::{Action, Falsified, Request, RequestKind};
use crate::backend::{
    Answer, BackendError, Deletion, ETag, Fault, ObjectBackend, ObjectInfo, ObjectKey, Page, Put,
    PutCondition, PutNew, PutOutcome, Validity,
};

/// What came of a request.
struct Ran<T> {
    result: Result<Answer<T>, BackendError>,
    falsified: Option<Falsified>,
}

impl<T> From<Result<Answer<T>, BackendError>> for Ran<T> {
    fn from(result: Result<Answer<T>, BackendError>) -> Self {
        Self { result, falsified: None }
    }
}

impl StagedBackend {
    /// Takes note of a request and returns what happens to it.
    fn enter(&self, request: &Request) -> Option<Action> {
        let action = {
            let mut state = self.lock();
            state.log.push(request.clone());
            if state.is_down {
                Some(Action::Fail { fault: Fault::Unavailable, is_unclear: request.kind.is_write() })
            } else {
                state.rules.take(request)
            }
        };
        self.logged.notify_waiters();
        action
    }

    fn error(&self, request: &Request, fault: Fault, is_unclear: bool) -> BackendError {
        let key = request.keys.first().cloned().unwrap_or_default();
        // Whoever does not answer tells no date.
        let date = (fault != Fault::Unavailable).then(|| self.clock.wall());
        let source = "the test wants it so".into();
        BackendError { action: request.kind.action(), key, is_unclear, fault, date, source }
    }

    fn lost(&self, request: &Request) -> BackendError {
        self.error(request, Fault::Unavailable, request.kind.is_write())
    }

    /// Carries out a request as the rules say.
    async fn run<T, E, F>(&self, request: Request, effect: E) -> Ran<T>
    where
        T: Send + 'static,
        E: Fn(Self) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Answer<T>, BackendError>> + Send + 'static,
    {
        match self.enter(&request) {
            None => effect(self.clone()).await.into(),
            Some(Action::Falsify(falsified)) => {
                Ran { falsified: Some(falsified), ..effect(self.clone()).await.into() }
            }
            Some(Action::Fail { fault, is_unclear }) => Err(self.error(&request, fault, is_unclear)).into(),
            Some(Action::LoseReply) => {
                let _ = effect(self.clone()).await;
                Err(self.lost(&request)).into()
            }
            Some(Action::HoldBefore(held)) => {
                let (later, staged) = (effect.clone(), self.clone());
                let land = move || Box::pin(async move { later(staged).await.map(|_| ()) }) as Pin<Box<_>>;
                let (stopped, decided) = HeldRequest::new(request.clone(), Some(Box::new(land)));
                match decision(&held, stopped, decided).await {
                    Decision::Release => effect(self.clone()).await.into(),
                    Decision::Lose => Err(self.lost(&request)).into(),
                    Decision::Repeat => {
                        let is_unclear = request.kind.is_write();
                        effect(self.clone()).await.map(|answer| Answer { is_unclear, ..answer }).into()
                    }
                }
            }
            Some(Action::HoldAfter(held)) => {
                let result = effect(self.clone()).await;
                let (stopped, decided) = HeldRequest::new(request.clone(), None);
                match decision(&held, stopped, decided).await {
                    Decision::Release | Decision::Repeat => result.into(),
                    Decision::Lose => Err(self.lost(&request)).into(),
                }
            }
        }
    }

    async fn put_as_it_is(self, mut put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        {
            let state = self.lock();
            if state.ignores_conditions {
                put.condition = PutCondition::Always;
            }
            put.validity = put.validity.filter(|_| !state.ignores_expiry);
        }
        self.inner.put(put).await
    }

    async fn put_new_as_it_is(self, key: ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        let put = Put { key, content, condition: PutCondition::IfAbsent, validity: None };
        Ok(self.put_as_it_is(put).await?.map(|outcome| match outcome {
            PutOutcome::Stored(tag) => PutNew::Written(tag),
            PutOutcome::ConditionFailed => PutNew::AlreadyThere,
        }))
    }

    async fn delete_as_it_is(
        self,
        keys: Vec<ObjectKey>,
        mut validity: Validity,
    ) -> Result<Answer<Deletion>, BackendError> {
        let (refused, deleted) = {
            let state = self.lock();
            if state.ignores_expiry {
                validity = Validity { signed_at: self.clock.wall(), lasts: Duration::from_mins(1) };
            }
            let reason = |key: &ObjectKey| {
                let refusal = state.refusals.iter().find(|(is_refused, _)| is_refused(key.as_str()));
                refusal.map(|(_, reason)| reason.clone())
            };
            let mut refused = Vec::new();
            let mut deleted = Vec::new();
            for key in keys {
                match reason(&key) {
                    Some(reason) => refused.push((key, reason)),
                    None => deleted.push(key),
                }
            }
            (refused, deleted)
        };
        let answer = self.inner.delete(&deleted, validity).await?;
        Ok(answer.map(|deletion| Deletion { refused, ..deletion }))
    }
}

/// Stops a request and waits for what becomes of it; without anybody to say, it goes on.
async fn decision(
    held: &mpsc::UnboundedSender<HeldRequest>,
    stopped: HeldRequest,
    decided: oneshot::Receiver<Decision>,
) -> Decision {
    if held.send(stopped).is_err() {
        return Decision::Release;
    }
    decided.await.unwrap_or(Decision::Release)
}

fn request(kind: RequestKind, key: &(impl ToString + ?Sized)) -> Request {
    Request { kind, keys: vec![key.to_string()] }
}

impl ObjectBackend for StagedBackend {
    async fn put(&self, put: Put) -> Result<Answer<PutOutcome>, BackendError> {
        let request = request(RequestKind::Put, &put.key);
        self.run(request, move |staged| staged.put_as_it_is(put.clone())).await.result
    }

    async fn put_new(&self, key: &ObjectKey, content: Bytes) -> Result<Answer<PutNew>, BackendError> {
        let (request, key) = (request(RequestKind::PutNew, key), key.clone());
        self.run(request, move |staged| staged.put_new_as_it_is(key.clone(), content.clone())).await.result
    }

    fn tag_of(&self, content: &[u8]) -> Option<ETag> {
        self.inner.tag_of(content).filter(|_| !self.lock().hides_tags)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Answer<Option<(ObjectInfo, Bytes)>>, BackendError> {
        let (request, key) = (request(RequestKind::Get, key), key.clone());
        let ran = self
            .run(request, move |staged| {
                let key = key.clone();
                async move { staged.inner.get(&key).await }
            })
            .await;
        let mut answer = ran.result?;
        if let (Some((info, content)), Some(Falsified::Body(wrong))) = (&mut answer.value, ran.falsified) {
            info.len = wrong.len() as u64;
            *content = wrong;
        }
        Ok(answer)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Answer<Option<ObjectInfo>>, BackendError> {
        let (request, key) = (request(RequestKind::Head, key), key.clone());
        self.run(request, move |staged| {
            let key = key.clone();
            async move { staged.inner.head(&key).await }
        })
        .await
        .result
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey) -> Result<Answer<bool>, BackendError> {
        let request = Request { kind: RequestKind::Copy, keys: vec![from.to_string(), to.to_string()] };
        let keys = (from.clone(), to.clone());
        self.run(request, move |staged| {
            let (from, to) = keys.clone();
            async move { staged.inner.copy(&from, &to).await }
        })
        .await
        .result
    }

    async fn delete(&self, keys: &[ObjectKey], validity: Validity) -> Result<Answer<Deletion>, BackendError> {
        let names = keys.iter().map(ToString::to_string).collect();
        let request = Request { kind: RequestKind::Delete, keys: names };
        let keys = keys.to_vec();
        let ran = self.run(request, move |staged| staged.delete_as_it_is(keys.clone(), validity)).await;
        ran.result.map(|mut answer| {
            answer.value.is_unclear |= answer.is_unclear;
            answer
        })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Answer<Page>, BackendError> {
        let request = request(RequestKind::List, prefix);
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let ran = self
            .run(request, move |staged| {
                let (prefix, after) = (prefix.clone(), after.clone());
                async move { staged.inner.list(&prefix, after.as_deref()).await }
            })
            .await;
        let mut answer = ran.result?;
        if let Some(Falsified::Cut(count)) = ran.falsified {
            answer.value.objects.truncate(count);
            answer.value.next = None;
        }
        Ok(answer)
    }
}
