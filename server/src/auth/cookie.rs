//! The ticket in a request's cookies.

use http::HeaderMap;
use http::header::COOKIE;
use percent_encoding::percent_decode_str;

/// The names of the cookie; the first takes precedence (rest-api.md 2.1).
pub(super) const COOKIE_NAMES: [&str; 2] = ["__Host-PBSAuthCookie", "PBSAuthCookie"];

/// Returns the ticket as it was sent and, where that differs, percent-decoded. Clients do either, and a ticket may itself
/// contain escapes, so both forms are to be tried.
pub(super) fn tickets_of(headers: &HeaderMap) -> Vec<String> {
    let pairs = || {
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='))
    };
    let find = |name: &str| pairs().find(|(known, _)| *known == name).map(|(_, value)| value);
    let Some(raw) = COOKIE_NAMES.into_iter().find_map(find) else { return Vec::new() };
    let mut forms = vec![raw.to_owned()];
    forms.extend(
        percent_decode_str(raw).decode_utf8().ok().map(Into::into).filter(|decoded: &String| decoded != raw),
    );
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(cookies: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        tickets_of(&headers)
    }

    #[test]
    fn both_spellings_of_a_ticket_are_found() {
        assert_eq!(tickets(&["PBSAuthCookie=PBS:a@pbs:65::x+/"]), ["PBS:a@pbs:65::x+/"]);
        let encoded = ["a=b; PBSAuthCookie=PBS%3Aa%40pbs%3A65%3A%3Ax%2B"];
        assert_eq!(tickets(&encoded), ["PBS%3Aa%40pbs%3A65%3A%3Ax%2B", "PBS:a@pbs:65::x+"]);
    }

    #[test]
    fn the_host_cookie_takes_precedence_and_others_are_ignored() {
        assert_eq!(tickets(&["PBSAuthCookie=old", "__Host-PBSAuthCookie=new"]), ["new"]);
        assert!(tickets(&["NotPBSAuthCookie=x", "PBSAuthCookie"]).is_empty());
        assert!(tickets(&[]).is_empty());
    }
}
