//! A small, predictable S3 client with honest retry behaviour.
