//! The readers of what proves who calls, for the fuzz targets and nothing else.

use http::HeaderMap;

use super::{cookie, password};

/// Returns the spellings of the ticket in a request's cookies.
pub fn tickets_of(headers: &HeaderMap) -> Vec<String> {
    cookie::tickets_of(headers)
}

/// Takes the stored hash of a password apart: what it asks for (KiB of memory, passes, lanes), salt and hash.
pub fn password_hash(stored: &str) -> Option<((u32, u32, u32), Vec<u8>, Vec<u8>)> {
    password::parse(stored)
}
