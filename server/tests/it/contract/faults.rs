//! Ways to get a parameter wrong.

use super::{Description, Kind, Param, Presence, Style, Value, example, json};

/// One wrong value, and the styles in which it can be told.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) value: Value,
    pub(super) styles: &'static [Style],
}

const EVERYWHERE: &[Style] = &[Style::Query, Style::Form, Style::Json];
const IN_FORMS: &[Style] = &[Style::Query, Style::Form];
const IN_BODIES: &[Style] = &[Style::Form, Style::Json];
const IN_JSON: &[Style] = &[Style::Json];

/// Longest list of a parameter, from the documentation of `LIST_LEN_MAX`.
const LIST_LEN_MAX: usize = 8192;
/// Bytes of elements that a body has room for, beside commas, quotes and names.
const BODY_BYTES: usize = 300 * 1024;

/// All wrong values of a parameter, but for its absence.
pub(super) fn faults_of(endpoint: &Description, param: &Param) -> Vec<Fault> {
    let good = example(endpoint, param);
    let mut faults = Vec::new();
    let mut add = |styles, value: Value| faults.push(Fault { value, styles });
    match param.kind {
        Kind::List(of) => {
            for value in wrong_values(of) {
                add(EVERYWHERE, json!([good, value]));
            }
            // Longer elements meet the bound of the body first.
            if good.len() * LIST_LEN_MAX < BODY_BYTES {
                add(IN_BODIES, json!(vec![good.clone(); LIST_LEN_MAX + 1]));
            }
            add(IN_JSON, json!([[good]]));
            add(IN_JSON, json!([null]));
        }
        kind => {
            for value in wrong_values(&kind) {
                add(EVERYWHERE, json!(value));
            }
            // Given twice, or as a list.
            add(IN_FORMS, json!([good, good]));
            add(IN_JSON, json!([good]));
        }
    }
    add(IN_JSON, json!({ "a": good }));
    if param.presence == Presence::Required {
        add(IN_JSON, Value::Null);
    }
    faults
}

/// Texts that are no value of this kind.
pub(super) fn wrong_values(kind: &Kind) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    match kind {
        Kind::Boolean => texts(&["", "maybe", "2", "truee", " true"]),
        Kind::Integer { min, max } => {
            let mut wrong = texts(&["", "x", "1.5", " 1", "1e3", "0x10", "9223372036854775808"]);
            wrong.extend(min.checked_sub(1).map(|below| below.to_string()));
            wrong.extend(max.checked_add(1).map(|above| above.to_string()));
            wrong
        }
        Kind::Text { bytes_max } => vec!["x".repeat(bytes_max + 1), "a\0b".to_owned()],
        Kind::Name(_) => vec!["\u{1}".to_owned(), "x y*".to_owned(), "x".repeat(600)],
        Kind::List(of) => wrong_values(of),
    }
}

/// Texts at the edge of what this kind takes.
pub(super) fn edges(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Boolean => ["true", "FALSE", "1", "0", "on", "Off", "yes", "no"].map(str::to_owned).to_vec(),
        Kind::Integer { min, max } => vec![min.to_string(), max.to_string()],
        Kind::Text { bytes_max } => vec![String::new(), "x".repeat(*bytes_max)],
        Kind::Name(_) => Vec::new(),
        Kind::List(of) => edges(of),
    }
}
