//! The API token that a request bears (spec `rest-api.md` §2.2).

use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{AuthId, PASSWORD_BYTES_MAX};

/// The word before a token in the `Authorization` header.
const TOKEN_SCHEME: &str = "PBSAPIToken";

/// A token as a request shows it; nobody has checked it.
pub(super) struct ShownToken {
    pub(super) id: AuthId,
    pub(super) secret: Zeroizing<String>,
}

/// The header is of the scheme of tokens, and holds none.
#[derive(Debug)]
pub(super) struct Malformed;

/// Reads the token of a request; `None` if it has no `Authorization` header of that scheme.
pub(super) fn token_of(headers: &HeaderMap) -> Option<Result<ShownToken, Malformed>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let rest = value.strip_prefix(TOKEN_SCHEME)?;
    Some(rest.strip_prefix(['=', ' ']).and_then(|text| parse(text.trim())).ok_or(Malformed))
}

fn parse(text: &str) -> Option<ShownToken> {
    let (name, secret) = text.split_once(':')?;
    let id = name.parse().ok()?;
    let secret = Zeroizing::new(percent_decode_str(secret).decode_utf8().ok()?.into_owned());
    (secret.len() <= PASSWORD_BYTES_MAX).then_some(ShownToken { id, secret })
}
