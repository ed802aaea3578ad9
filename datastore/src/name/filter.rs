//! Which groups a pull or push is about (spec `pull.md` §5).

use std::fmt;
use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};

use super::error::excerpt;
use super::{BackupType, GroupName, NameError, serde_as_text};

/// Longest filter in bytes: room for some hundred ids in a pattern, and a bound for what is compiled.
const FILTER_BYTES_MAX: usize = 4096;
/// Most filters in a list; each is tried on every group.
const FILTERS_MAX: usize = 256;
/// Largest compiled pattern in bytes, so that a few characters cannot stand for gigabytes (`(x{999}){999}`). Matching takes
/// time in proportion to it.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of a pattern.
const PATTERN_DEPTH_MAX: u32 = 32;

/// Selects groups: `[include:|exclude:]` and one of `type:vm|ct|host`, `group:<type>/<id>`, `regex:<pattern>`.
///
/// A pattern is searched for anywhere in `type/id`, unless it has anchors. Names are ASCII, and so are `\w`, `\d` and case.
/// Shown without `include:`, which is the default.
///
/// # Examples
/// ```
/// use coldkeep_datastore::GroupFilters;
///
/// let filters = GroupFilters::new(vec!["type:vm".parse()?, "exclude:regex:/9[0-9]+$".parse()?])?;
/// assert!(filters.matches(&"vm/100".parse()?) && !filters.matches(&"vm/900".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFilter {
    action: Action,
    criterion: Criterion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Include,
    Exclude,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Criterion {
    Type(BackupType),
    Group(GroupName),
    Pattern(Pattern),
}

/// A compiled pattern; equal if written alike.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// A text that is no filter, or one filter too many.
///
/// Quoted texts are cut to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It is written as none of the forms.
    #[error(
        "group filter {text:?} is not written as [include:|exclude:] and type:TYPE, group:TYPE/ID or regex:PATTERN"
    )]
    Form {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// It is too long.
    #[error("group filter has {length} bytes, allowed are {FILTER_BYTES_MAX}")]
    Length {
        /// Length of the text in bytes.
        length: usize,
    },
    /// The type or group is none.
    #[error("group filter {text:?}")]
    Name {
        /// The text, cut to 64 characters.
        text: String,
        /// What is wrong with the name.
        #[source]
        source: NameError,
    },
    /// The pattern is no regular expression.
    #[error("group filter {text:?}: {reason}")]
    Pattern {
        /// The text, cut to 64 characters.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pattern would take too much memory.
    #[error("group filter {text:?}: the pattern is too large, mostly because of a repetition")]
    PatternTooLarge {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// There are too many.
    #[error("there are {count} group filters, allowed are {FILTERS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl GroupFilter {
    /// Tells whether groups that the filter selects are left out.
    pub fn is_exclude(&self) -> bool {
        self.action == Action::Exclude
    }

    /// Tells whether the filter names this group, be it to include or to exclude it.
    pub fn names(&self, group: &GroupName) -> bool {
        match &self.criterion {
            Criterion::Type(ty) => group.ty == *ty,
            Criterion::Group(name) => group == name,
            Criterion::Pattern(Pattern(regex)) => regex.is_match(group.to_string().as_bytes()),
        }
    }
}

impl fmt::Display for GroupFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exclude() {
            f.write_str("exclude:")?;
        }
        match &self.criterion {
            Criterion::Type(ty) => write!(f, "type:{ty}"),
            Criterion::Group(group) => write!(f, "group:{group}"),
            Criterion::Pattern(Pattern(regex)) => write!(f, "regex:{}", regex.as_str()),
        }
    }
}

impl FromStr for GroupFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::Length { length: text.len() });
        }
        let (action, rest) = match (text.strip_prefix("include:"), text.strip_prefix("exclude:")) {
            (Some(rest), _) => (Action::Include, rest),
            (_, Some(rest)) => (Action::Exclude, rest),
            (None, None) => (Action::Include, text),
        };
        let named = |source| FilterError::Name { text: excerpt(text), source };
        let criterion = match rest.split_once(':') {
            Some(("type", ty)) => Criterion::Type(ty.parse().map_err(named)?),
            Some(("group", group)) => Criterion::Group(group.parse().map_err(named)?),
            Some(("regex", pattern)) => Criterion::Pattern(Pattern(compile(text, pattern)?)),
            _ => return Err(FilterError::Form { text: excerpt(text) }),
        };
        Ok(Self { action, criterion })
    }
}

serde_as_text!(GroupFilter);

/// Compiles the pattern of the filter `text`.
fn compile(text: &str, pattern: &str) -> Result<Regex, FilterError> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(PATTERN_BYTES_MAX).nest_limit(PATTERN_DEPTH_MAX);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => FilterError::PatternTooLarge { text: excerpt(text) },
        // The last of its lines says what is wrong; those before repeat the pattern.
        error => {
            let shown = error.to_string();
            let last = shown.lines().last().unwrap_or_default();
            let reason = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            FilterError::Pattern { text: excerpt(text), reason }
        }
    })
}

/// A list of filters: a group is selected if any includes it, or none says what to include, and none excludes it.
///
/// The empty list selects every group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilters(Vec<GroupFilter>);

impl GroupFilters {
    /// Takes a list of at most 256 filters.
    ///
    /// # Errors
    /// [`FilterError::TooMany`].
    pub fn new(filters: Vec<GroupFilter>) -> Result<Self, FilterError> {
        if filters.len() > FILTERS_MAX {
            return Err(FilterError::TooMany { count: filters.len() });
        }
        Ok(Self(filters))
    }

    /// Tells whether a group is selected.
    pub fn matches(&self, group: &GroupName) -> bool {
        let (mut has_includes, mut is_included) = (false, false);
        for filter in &self.0 {
            if !filter.is_exclude() {
                has_includes = true;
                // A pattern costs more than a flag.
                is_included = is_included || filter.names(group);
            } else if filter.names(group) {
                return false;
            }
        }
        is_included || !has_includes
    }

    /// Tells whether there is no filter, so that every group is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lists the filters.
    pub fn iter(&self) -> impl Iterator<Item = &GroupFilter> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> GroupFilter {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The groups that a list of filters selects.
    fn selected(filters: &[&str]) -> Vec<&'static str> {
        let filters = GroupFilters::new(filters.iter().map(|text| filter(text)).collect()).unwrap();
        let groups = ["ct/100", "host/vm-1", "vm/100", "vm/2100"];
        groups.into_iter().filter(|group| filters.matches(&group.parse().unwrap())).collect()
    }

    #[test]
    fn filters_show_as_they_parse_without_the_default() {
        for (text, shown) in [
            ("type:vm", "type:vm"),
            ("include:type:ct", "type:ct"),
            ("exclude:type:host", "exclude:type:host"),
            ("group:vm/100", "group:vm/100"),
            ("exclude:group:host/a.b", "exclude:group:host/a.b"),
            ("regex:^vm/1:", "regex:^vm/1:"),
            ("include:regex:exclude:x", "regex:exclude:x"),
        ] {
            assert_eq!(filter(text).to_string(), shown);
            assert_eq!(filter(shown), filter(text));
            assert_eq!(serde_json::to_string(&filter(text)).unwrap(), serde_json::to_string(shown).unwrap());
        }
        assert_ne!(filter("regex:a"), filter("regex:b"));
        assert_eq!(
            serde_json::from_str::<GroupFilter>(r#""exclude:type:vm""#).unwrap(),
            filter("exclude:type:vm")
        );
        assert!(serde_json::from_str::<GroupFilter>(r#""regex:(""#).is_err());
    }

    #[test]
    fn without_includes_everything_is_selected_but_what_is_excluded() {
        assert_eq!(selected(&[]), ["ct/100", "host/vm-1", "vm/100", "vm/2100"]);
        assert_eq!(selected(&["exclude:type:vm"]), ["ct/100", "host/vm-1"]);
        assert_eq!(selected(&["exclude:group:vm/100", "exclude:type:ct"]), ["host/vm-1", "vm/2100"]);
    }

    #[test]
    fn one_include_suffices_and_one_exclude_too_wherever_it_stands() {
        assert_eq!(selected(&["type:vm", "group:ct/100"]), ["ct/100", "vm/100", "vm/2100"]);
        assert_eq!(selected(&["type:vm", "exclude:group:vm/100"]), ["vm/2100"]);
        assert_eq!(selected(&["exclude:group:vm/100", "type:vm"]), ["vm/2100"]);
        assert_eq!(selected(&["group:vm/10"]), [""; 0]);
    }

    #[test]
    fn patterns_are_searched_for_anywhere_in_type_and_id() {
        assert_eq!(selected(&["regex:100"]), ["ct/100", "vm/100", "vm/2100"]);
        assert_eq!(selected(&["regex:vm"]), ["host/vm-1", "vm/100", "vm/2100"]);
        assert_eq!(selected(&["regex:^vm/"]), ["vm/100", "vm/2100"]);
        assert_eq!(selected(&["regex:/100$"]), ["ct/100", "vm/100"]);
        assert_eq!(selected(&[r"exclude:regex:^\w+/\d+$"]), ["host/vm-1"]);
        assert_eq!(selected(&["regex:(?i)VM-"]), ["host/vm-1"]);
        assert_eq!(selected(&["regex:"]).len(), 4);
    }

    #[test]
    fn anything_else_is_refused() {
        use FilterError as E;
        let refused = |text: &str| text.parse::<GroupFilter>().unwrap_err();
        for text in
            ["", "vm", "vm/100", "types:vm", "exclude:", "include:exclude:type:vm", "Type:vm", " type:vm"]
        {
            assert!(matches!(refused(text), E::Form { .. }), "{text:?}");
        }
        for text in ["type:", "type:pxe", "type:VM", "group:vm", "group:vm/", "group:pxe/1", "group:vm/../x"]
        {
            assert!(matches!(refused(text), E::Name { .. }), "{text:?}");
        }
        for text in ["regex:(", "regex:[z-a]", r"regex:\", "regex:a{2,1}", r"regex:\p{Greek}"] {
            assert!(matches!(refused(text), E::Pattern { .. }), "{text:?}");
        }
        assert_eq!(
            refused("exclude:regex:(").to_string(),
            r#"group filter "exclude:regex:(": unclosed group"#
        );
    }

    #[test]
    fn sizes_are_bounded() {
        use FilterError as E;
        let refused = |text: &str| text.parse::<GroupFilter>().unwrap_err();
        let long = format!("regex:{}", "x".repeat(FILTER_BYTES_MAX));
        assert_eq!(refused(&long), E::Length { length: long.len() });
        for text in ["regex:(x{999}){999}", "regex:x{1000000}"] {
            assert!(matches!(refused(text), E::PatternTooLarge { .. }), "{text}");
        }
        let deep = format!("regex:{}x{}", "(".repeat(1000), ")".repeat(1000));
        let error = refused(&deep);
        assert!(matches!(&error, E::Pattern { .. }), "{error}");
        assert!(error.to_string().len() < 300 && !error.to_string().contains('\n'), "{error}");
        let many = vec![filter("type:vm"); FILTERS_MAX + 1];
        assert_eq!(GroupFilters::new(many), Err(E::TooMany { count: FILTERS_MAX + 1 }));
        // What somebody may list in earnest.
        let ids: Vec<String> = (100..400).map(|id: u32| id.to_string()).collect();
        assert!(filter(&format!("regex:^vm/({})$", ids.join("|"))).names(&"vm/399".parse().unwrap()));
    }
}
