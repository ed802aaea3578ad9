//! Operations as the probe sends them: without the client's quirks and checksums, with what the probe adds.

use http::header::HeaderName;

use crate::config::{Quirk, Quirks};
use crate::error::{ErrorCode, InvalidRequest, Operation};
use crate::ops::{Answer, Integrity, NoOutput, RequestParts, S3Operation, sealed};

/// An operation of which nothing depends on the client's configuration but where it goes and who signs it.
pub(super) struct Bare<O> {
    op: O,
    quirks: Quirks,
    integrity: Integrity,
    headers: Vec<(HeaderName, String)>,
}

impl<O: S3Operation> Bare<O> {
    pub(super) fn new(op: O) -> Bare<O> {
        // Whether checksums are understood is for the probe to find out.
        let quirks = Quirks::from([Quirk::NoChecksums]);
        Bare { op, quirks, integrity: Integrity::None, headers: Vec::new() }
    }

    pub(super) fn with_quirk(mut self, quirk: Quirk) -> Bare<O> {
        self.quirks.insert(quirk);
        self
    }

    pub(super) fn with_integrity(mut self, integrity: Integrity) -> Bare<O> {
        self.integrity = integrity;
        self
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Bare<O> {
        self.headers.push((HeaderName::from_static(name), value.into()));
        self
    }
}

impl<O> sealed::Sealed for Bare<O> {}

impl<O: S3Operation> S3Operation for Bare<O> {
    type Output = O::Output;

    const OPERATION: Operation = O::OPERATION;

    fn request(&self, _: &Quirks) -> Result<RequestParts, InvalidRequest> {
        let mut parts = self.op.request(&self.quirks)?;
        parts.integrity = self.integrity;
        for (name, value) in &self.headers {
            parts.header(name.clone(), value)?;
        }
        Ok(parts)
    }

    fn output(&self, answer: Answer) -> Result<O::Output, NoOutput> {
        self.op.output(answer)
    }

    fn not_found(&self) -> ErrorCode {
        self.op.not_found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ObjectKey;
    use crate::ops::PutObject;

    #[test]
    fn quirks_of_the_client_do_not_count() {
        let put = Bare::new(PutObject::new(ObjectKey::new("k").unwrap(), "x").if_absent());
        let parts = put.request(&Quirks::from([Quirk::NoIfNoneMatch])).unwrap();
        assert!(parts.headers.contains_key("if-none-match"));
        assert_eq!(parts.integrity, Integrity::None);
    }
}
