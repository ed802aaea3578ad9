//! Query parameters, for the wire and for the signature.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::encode::{append_component, component};

/// The query parameters of a request, raw (not encoded), in the order in which they are sent.
///
/// ```
/// use coldkeep_s3_client::sign::Query;
/// let query = Query::new().with_flag("uploads").with("prefix", "a b/");
/// assert_eq!(query.to_wire(), "uploads&prefix=a%20b%2F");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    name: Cow<'static, str>,
    /// `None` for a sub-resource.
    value: Option<Cow<'static, str>>,
}

impl Query {
    /// Makes an empty query.
    pub const fn new() -> Query {
        Query { parameters: Vec::new() }
    }

    /// Adds a parameter, whose value may be empty: `name=value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Query {
        self.parameters.push(Parameter { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds a sub-resource: sent bare (`?delete`), signed as `delete=` (S3 API reference, "Canonical query string").
    #[must_use]
    pub fn with_flag(mut self, name: impl Into<Cow<'static, str>>) -> Query {
        self.parameters.push(Parameter { name: name.into(), value: None });
        self
    }

    /// Says whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Returns what follows the `?` of the request target, encoded; empty if there is no parameter.
    pub fn to_wire(&self) -> String {
        let mut out = String::new();
        self.append_wire(&mut out);
        out
    }

    /// Appends what [`Query::to_wire`] returns.
    pub fn append_wire(&self, out: &mut String) {
        for (idx, parameter) in self.parameters.iter().enumerate() {
            if idx > 0 {
                out.push('&');
            }
            append_component(out, &parameter.name);
            if let Some(value) = &parameter.value {
                out.push('=');
                append_component(out, value);
            }
        }
    }

    /// Writes the canonical form: `name=value` joined by `&`, sorted by encoded name, then by encoded value.
    pub(super) fn write_canonical(&self, write: &mut impl FnMut(&str)) {
        let mut sorted: Vec<&Parameter> = self.parameters.iter().collect();
        sorted.sort_by(|a, b| compare(&a.name, &b.name).then_with(|| compare(a.value(), b.value())));
        for (idx, parameter) in sorted.into_iter().enumerate() {
            if idx > 0 {
                write("&");
            }
            component(&parameter.name).for_each(&mut *write);
            write("=");
            component(parameter.value()).for_each(&mut *write);
        }
    }
}

impl Parameter {
    fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("")
    }
}

/// Compares as encoded: an escape sorts by its `%`, before letters and digits, whatever it stands for.
fn compare(a: &str, b: &str) -> Ordering {
    component(a).flat_map(str::bytes).cmp(component(b).flat_map(str::bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(query: &Query) -> String {
        let mut out = String::new();
        query.write_canonical(&mut |part| out.push_str(part));
        out
    }

    #[test]
    fn a_flag_is_sent_bare_and_signed_with_an_equals_sign() {
        let query = Query::new().with_flag("delete");
        assert_eq!((query.to_wire().as_str(), canonical(&query).as_str()), ("delete", "delete="));
        let query = Query::new().with("prefix", "");
        assert_eq!((query.to_wire().as_str(), canonical(&query).as_str()), ("prefix=", "prefix="));
        assert!(Query::new().is_empty() && Query::new().to_wire().is_empty());
    }

    #[test]
    fn parameters_are_sent_as_given_and_signed_sorted() {
        let query = Query::new().with("prefix", "J/ü").with("max-keys", "2").with("list-type", "2");
        assert_eq!(query.to_wire(), "prefix=J%2F%C3%BC&max-keys=2&list-type=2");
        assert_eq!(canonical(&query), "list-type=2&max-keys=2&prefix=J%2F%C3%BC");
    }

    #[test]
    fn the_order_is_that_of_encoded_names_then_values() {
        // `-` sorts before `=`, `{` after letters but its escape before them: neither may change the order of names.
        let query =
            Query::new().with("a{", "1").with("ab", "1").with("a-b", "2").with("a", "3").with("a", "10");
        assert_eq!(canonical(&query), "a=10&a=3&a%7B=1&a-b=2&ab=1");
    }

    proptest! {
        #[test]
        fn the_canonical_form_does_not_depend_on_the_order(
            (given, shuffled) in prop::collection::vec(("[a-c{/é-]{0,3}", any::<Option<String>>()), 0..6)
                .prop_flat_map(|pairs| (Just(pairs.clone()), Just(pairs).prop_shuffle())),
        ) {
            let query = |pairs: Vec<(String, Option<String>)>| {
                pairs.into_iter().fold(Query::new(), |query, (name, value)| match value {
                    Some(value) => query.with(name, value),
                    None => query.with_flag(name),
                })
            };
            prop_assert_eq!(canonical(&query(given)), canonical(&query(shuffled)));
        }
    }
}
