//! Paths of requests and of endpoints, cut into components.

use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// The decoded components of a request's path. Empty ones are gone: stock clients send `//api2/json/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// Cuts and decodes the path of a URI.
    ///
    /// # Errors
    /// 400 if a component starts with a dot, is not UTF-8 or contains a NUL byte.
    pub(crate) fn parse(path: &str) -> Result<Self, ApiError> {
        let components = path.split('/').filter(|component| !component.is_empty()).map(|component| {
            let text = percent_decode_str(component).decode_utf8();
            let text = text.map_err(|_| ApiError::bad_request("path is not UTF-8"))?;
            if component.starts_with('.') || text.starts_with('.') || text.contains('\0') {
                return Err(ApiError::bad_request(
                    "path has a component that starts with a dot or contains NUL",
                ));
            }
            Ok(text.into_owned())
        });
        components.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the components below `prefix`, or `None` if the path lies elsewhere.
    pub(crate) fn below(&self, prefix: &[&str]) -> Option<&[String]> {
        let (head, rest) = self.0.split_at_checked(prefix.len())?;
        (head == prefix).then_some(rest)
    }
}

/// The path of an endpoint.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug)]
enum Part {
    Fixed(&'static str),
    Variable(&'static str),
}

impl Pattern {
    pub(super) fn parse(path: &'static str) -> Self {
        let parts = path.split('/').filter(|part| !part.is_empty()).map(|part| {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => Part::Variable(name),
                None => Part::Fixed(part),
            }
        });
        Self(parts.collect())
    }

    /// Returns the variables of the pattern with the components that they stand for, or `None` if it does not match.
    pub(super) fn variables<'p>(&self, components: &'p [String]) -> Option<Vec<(&'static str, &'p str)>> {
        if self.0.len() != components.len() {
            return None;
        }
        let mut variables = Vec::new();
        for (part, component) in self.0.iter().zip(components) {
            match part {
                Part::Fixed(text) if text == component => {}
                Part::Fixed(_) => return None,
                Part::Variable(name) => variables.push((*name, component.as_str())),
            }
        }
        Some(variables)
    }

    /// Lists the names of the variables.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(*name),
            Part::Fixed(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_components_collapse_and_escapes_are_decoded() {
        let path = Path::parse("//api2/json///nodes/localhost/tasks/UPID%3Aa%3a/").unwrap();
        let rest = path.below(&["api2", "json"]).unwrap();
        assert_eq!(rest, ["nodes", "localhost", "tasks", "UPID:a:"]);
        let pattern = Pattern::parse("/nodes/{node}/tasks/{upid}");
        assert_eq!(pattern.variables(rest).unwrap(), [("node", "localhost"), ("upid", "UPID:a:")]);
        assert!(pattern.variables(&rest[..3]).is_none());
        assert!(path.below(&["api2", "extjs"]).is_none());
        assert_eq!(Path::parse("//").unwrap().below(&[]), Some(&[][..]));
    }

    #[test]
    fn tricks_with_dots_are_refused() {
        for path in ["/a/../b", "/a/%2e%2e/b", "/.hidden", "/a/%2E", "/a%00b", "/a/%ff"] {
            assert_eq!(Path::parse(path).unwrap_err().status(), 400, "{path}");
        }
    }
}
