//! The readers of what proves who calls, for the fuzz targets and nothing else.

use http::HeaderMap;

use super::{AuthId, api_token, cookie, password};

/// Returns the spellings of the ticket in a request's cookies.
pub fn tickets_of(headers: &HeaderMap) -> Vec<String> {
    cookie::tickets_of(headers)
}

/// Returns user or token and secret of a request's `Authorization` header.
pub fn api_token_of(headers: &HeaderMap) -> Option<(AuthId, String)> {
    let shown = api_token::token_of(headers)?.ok()?;
    Some((shown.id, shown.secret.to_string()))
}

/// Returns what the stored hash of a password asks for: KiB of memory, passes, lanes.
pub fn password_cost(stored: &str) -> Option<(u32, u32, u32)> {
    password::parse(stored).map(|(cost, _salt, _hash)| cost)
}
