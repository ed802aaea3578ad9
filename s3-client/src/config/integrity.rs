//! How content is protected on its way, and how long a signature counts.

/// The checksum header that uploads carry, so that the service compares what it stored (S3 user guide, "Checking object integrity").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum UploadChecksum {
    /// None; the payload hash of the signature still protects the way.
    None,
    /// `x-amz-checksum-crc32c`: costs next to nothing.
    #[default]
    Crc32c,
    /// `x-amz-checksum-sha256`: costs nothing where the payload is hashed for the signature anyway.
    Sha256,
}

/// Whether the signature covers the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PayloadSigning {
    /// `x-amz-content-sha256` is the hash of the body: the form that every server takes.
    #[default]
    Signed,
    /// `UNSIGNED-PAYLOAD` under TLS, which protects the body on its way; saves the hash, most of the CPU time of an upload. Without TLS the
    /// body is signed all the same.
    UnsignedUnderTls,
}
