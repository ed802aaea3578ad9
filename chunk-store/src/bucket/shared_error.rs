//! One error for many who waited for the same download.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::backend::BackendError;
use crate::blob::BlobError;
use crate::checked::CheckError;
use crate::dir::DirError;
use crate::store::LoadError;

/// Returns an error that says the same and has the same causes.
pub(super) fn copy_of(error: &Arc<LoadError>) -> LoadError {
    match &**error {
        LoadError::Missing { digest } => LoadError::Missing { digest: *digest },
        LoadError::Corrupt { digest, source } => {
            LoadError::Corrupt { digest: *digest, source: copy_of_check(source) }
        }
        LoadError::Dir(DirError { action, path, source }) => {
            let source = io::Error::new(source.kind(), Cause(Arc::clone(error)));
            LoadError::Dir(DirError::new(action, path, source))
        }
        LoadError::Backend(original) => LoadError::Backend(BackendError {
            action: original.action,
            key: original.key.clone(),
            is_unclear: original.is_unclear,
            fault: original.fault,
            date: original.date,
            source: Box::new(Cause(Arc::clone(error))),
        }),
        LoadError::Closed(closed) => LoadError::Closed(closed.clone()),
    }
}

/// The cause of a shared error.
#[derive(Debug)]
struct Cause(Arc<LoadError>);

impl Cause {
    fn original(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            LoadError::Dir(error) => error.source(),
            LoadError::Backend(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original().map_or(Ok(()), |original| fmt::Display::fmt(original, f))
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.original().and_then(Error::source)
    }
}

fn copy_of_check(error: &CheckError) -> CheckError {
    match *error {
        CheckError::PlainLength { digest, len } => CheckError::PlainLength { digest, len },
        CheckError::EncodedLength { digest, len } => CheckError::EncodedLength { digest, len },
        CheckError::Blob { digest, ref source } => CheckError::Blob { digest, source: copy_of_blob(source) },
        CheckError::Digest { digest, got } => CheckError::Digest { digest, got },
        CheckError::Length { digest, expected } => CheckError::Length { digest, expected },
    }
}

fn copy_of_blob(error: &BlobError) -> BlobError {
    // What (de)compressors say is a text without further causes.
    let copy = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    match *error {
        BlobError::TooShort { len, header } => BlobError::TooShort { len, header },
        BlobError::UnknownMagic => BlobError::UnknownMagic,
        BlobError::Crc { expected, got } => BlobError::Crc { expected, got },
        BlobError::TooLarge { max } => BlobError::TooLarge { max },
        BlobError::Decompress(ref source) => BlobError::Decompress(copy(source)),
        BlobError::Compress(ref source) => BlobError::Compress(copy(source)),
        BlobError::KeyNeeded => BlobError::KeyNeeded,
        BlobError::Decrypt => BlobError::Decrypt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Fault;
    use crate::digest::Digest;

    /// The whole chain, as it is printed.
    fn chain(error: &dyn Error) -> Vec<String> {
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
    }

    #[test]
    fn a_copy_says_what_the_original_says() {
        let digest = Digest::of(b"a");
        let cause = || DirError::new("read", "file", io::Error::other("worn out"));
        let backend = BackendError {
            action: "get",
            key: "key".to_owned(),
            is_unclear: true,
            fault: Fault::Denied,
            date: None,
            source: Box::new(cause()),
        };
        let blob = |source| LoadError::Corrupt { digest, source: CheckError::Blob { digest, source } };
        let check = |source| LoadError::Corrupt { digest, source };
        let errors = [
            LoadError::Missing { digest },
            LoadError::Dir(cause()),
            LoadError::Backend(backend),
            LoadError::Closed(crate::bucket::Closed::Ended),
            check(CheckError::PlainLength { digest, len: 0 }),
            check(CheckError::EncodedLength { digest, len: 1 }),
            check(CheckError::Digest { digest, got: Digest::of(b"b") }),
            check(CheckError::Length { digest, expected: 2 }),
            blob(BlobError::TooShort { len: 1, header: 2 }),
            blob(BlobError::UnknownMagic),
            blob(BlobError::Crc { expected: 1, got: 2 }),
            blob(BlobError::TooLarge { max: 3 }),
            blob(BlobError::Decompress(io::Error::other("torn"))),
            blob(BlobError::Compress(io::Error::other("no memory"))),
            blob(BlobError::KeyNeeded),
            blob(BlobError::Decrypt),
        ];
        for error in errors.map(Arc::new) {
            let copy = copy_of(&error);
            assert_eq!(chain(&copy), chain(&*error));
            assert_eq!(std::mem::discriminant(&copy), std::mem::discriminant(&*error));
            if let (LoadError::Backend(copy), LoadError::Backend(error)) = (&copy, &*error) {
                assert_eq!((copy.fault, copy.is_unclear), (error.fault, error.is_unclear));
            }
        }
    }
}
