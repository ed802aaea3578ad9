//! The kinds of values that options have: how each is read from the file, written, and described.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use jiff::SignedDuration;
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::{Config, LogFormat};
use crate::cli::parse_bytes;

/// Lowest rate: the largest chunk takes four minutes, and clients wait that long.
const RATE_MIN: u64 = 64 << 10;
/// Most addresses in one list.
const ADDRESSES_MAX: usize = 16;

/// The kind of an option's value, and where it is kept.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// A span of time: text with units, or whole seconds.
    Span { of: fn(&mut Config) -> &mut Duration, min: Duration, max: Duration },
    /// A number of bytes: text with a unit, or a whole number.
    Bytes { of: fn(&mut Config) -> &mut usize, min: usize, max: usize },
    /// Bytes a second; 0 for no limit.
    Rate { of: fn(&mut Config) -> &mut u64 },
    /// A whole number.
    Count { of: fn(&mut Config) -> &mut usize, min: usize, max: usize },
    /// A small whole number.
    Few { of: fn(&mut Config) -> &mut u32, min: u32, max: u32 },
    /// Addresses with ports.
    Addresses { of: fn(&mut Config) -> &mut Vec<SocketAddr> },
    /// An address with a port, or empty text for none.
    Address { of: fn(&mut Config) -> &mut Option<SocketAddr> },
    /// A file, or empty text for none.
    File { of: fn(&mut Config) -> &mut Option<PathBuf> },
    /// Levels of the log.
    Filter { of: fn(&mut Config) -> &mut String },
    /// Form of the log.
    Format { of: fn(&mut Config) -> &mut LogFormat },
}

/// A value that the option cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

impl Field {
    /// Says what the value may be, for messages and the example.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Span { min, max, .. } => {
                format!("a time from {} to {}, such as \"90s\" or \"1h 30m\"", span(*min), span(*max))
            }
            Self::Bytes { min, max, .. } => {
                format!("a size from {} to {}, such as \"64MiB\"", bytes(*min), bytes(*max))
            }
            Self::Rate { .. } => {
                format!("0, or a size from {} on, such as \"50MiB\"", bytes(RATE_MIN as usize))
            }
            Self::Count { min, max, .. } => format!("a number from {min} to {max}"),
            Self::Few { min, max, .. } => format!("a number from {min} to {max}"),
            Self::Addresses { .. } => format!(
                "a list of at most {ADDRESSES_MAX} addresses with ports, such as [\"192.0.2.1:8007\", \"[::1]:8007\"]"
            ),
            Self::Address { .. } => {
                "an address with a port, such as \"127.0.0.1:9107\", or \"\" for none".to_owned()
            }
            Self::File { .. } => "the name of a file, or \"\" for none".to_owned(),
            Self::Filter { .. } => {
                "error, warn, info, debug or trace, or a list such as \"info,coldkeep_gc=debug\"".to_owned()
            }
            Self::Format { .. } => "\"human\" or \"json\"".to_owned(),
        }
    }

    /// Takes a value from the file, whose folder relative paths are relative to.
    pub(super) fn set(&self, config: &mut Config, value: &DeValue<'_>, folder: &Path) -> Result<(), Refused> {
        match self {
            Self::Span { of, min, max } => {
                let given = read_span(value).ok_or(Refused)?;
                *of(config) = in_range(given, *min, *max)?;
            }
            Self::Bytes { of, min, max } => {
                let given = read_bytes(value).and_then(|bytes| usize::try_from(bytes).ok()).ok_or(Refused)?;
                *of(config) = in_range(given, *min, *max)?;
            }
            Self::Rate { of } => {
                let given = read_bytes(value).filter(|rate| *rate == 0 || *rate >= RATE_MIN);
                *of(config) = given.ok_or(Refused)?;
            }
            Self::Count { of, min, max } => {
                let given = read_integer(value).and_then(|n| usize::try_from(n).ok()).ok_or(Refused)?;
                *of(config) = in_range(given, *min, *max)?;
            }
            Self::Few { of, min, max } => {
                let given = read_integer(value).and_then(|n| u32::try_from(n).ok()).ok_or(Refused)?;
                *of(config) = in_range(given, *min, *max)?;
            }
            Self::Addresses { of } => *of(config) = read_addresses(value).ok_or(Refused)?,
            Self::Address { of } => {
                *of(config) = read_optional(value)?.map(str::parse).transpose().map_err(|_| Refused)?;
            }
            Self::File { of } => *of(config) = read_optional(value)?.map(|path| folder.join(path)),
            Self::Filter { of } => {
                let text = value.as_str().filter(|text| is_filter(text)).ok_or(Refused)?;
                text.clone_into(of(config));
            }
            Self::Format { of } => {
                *of(config) =
                    value.as_str().and_then(|text| LogFormat::from_str(text, false).ok()).ok_or(Refused)?;
            }
        }
        Ok(())
    }

    /// Writes the value as it stands in a file.
    pub(super) fn text(&self, config: &Config) -> String {
        // The accessors give a place to write to; a copy is cheap enough for what is printed.
        let config = &mut config.clone();
        match self {
            Self::Span { of, .. } => quoted(&span(*of(config))),
            Self::Bytes { of, .. } => quoted(&bytes(*of(config))),
            Self::Rate { of } => quoted(&bytes(*of(config) as usize)),
            Self::Count { of, .. } => of(config).to_string(),
            Self::Few { of, .. } => of(config).to_string(),
            Self::Addresses { of } => {
                let list: Vec<String> =
                    of(config).iter().map(|address| quoted(&address.to_string())).collect();
                format!("[{}]", list.join(", "))
            }
            Self::Address { of } => {
                quoted(&of(config).map_or_else(String::new, |address| address.to_string()))
            }
            Self::File { of } => quoted(&of(config).as_deref().map_or("".into(), Path::to_string_lossy)),
            Self::Filter { of } => quoted(of(config)),
            Self::Format { of } => {
                quoted(of(config).to_possible_value().as_ref().map_or("", |value| value.get_name()))
            }
        }
    }
}

/// Says what stands in the file, shortened to what a message can hold.
pub(super) fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(&text.chars().take(80).collect::<String>()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "this list".to_owned(),
        other => format!("a {}", other.type_str()),
    }
}

/// Whether the log can be filtered by this.
pub(super) fn is_filter(text: &str) -> bool {
    !text.is_empty() && EnvFilter::try_new(text).is_ok()
}

fn in_range<T: PartialOrd + Copy>(given: T, min: T, max: T) -> Result<T, Refused> {
    if given < min || given > max { Err(Refused) } else { Ok(given) }
}

fn read_integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Reads text that may be empty, which stands for nothing.
fn read_optional<'v>(value: &'v DeValue<'_>) -> Result<Option<&'v str>, Refused> {
    value.as_str().map(|text| Some(text).filter(|text| !text.is_empty())).ok_or(Refused)
}

fn read_span(value: &DeValue<'_>) -> Option<Duration> {
    match value.as_str() {
        Some(text) => text.parse::<SignedDuration>().ok()?.try_into().ok(),
        None => read_integer(value).map(Duration::from_secs),
    }
}

fn read_bytes(value: &DeValue<'_>) -> Option<u64> {
    match value.as_str() {
        Some(text) => parse_bytes(text).ok(),
        None => read_integer(value),
    }
}

fn read_addresses(value: &DeValue<'_>) -> Option<Vec<SocketAddr>> {
    let list = value.as_array()?;
    if list.len() > ADDRESSES_MAX {
        return None;
    }
    list.iter().map(|address| address.get_ref().as_str()?.parse().ok()).collect()
}

/// Writes a span as it is read.
fn span(span: Duration) -> String {
    SignedDuration::try_from(span).map_or_else(|_| format!("{}s", span.as_secs()), |span| format!("{span:#}"))
}

/// Writes a size exactly, in the largest unit that divides it.
fn bytes(count: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(size, _)| count > 0 && count.is_multiple_of(*size));
    unit.map_or_else(|| format!("{count}"), |(size, unit)| format!("{}{unit}", count / size))
}

/// Writes text as a TOML string: basic strings have the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_exactly() {
        for (count, text) in
            [(0, "0"), (17 << 20, "17MiB"), (1 << 30, "1GiB"), (1025, "1025"), (3 << 10, "3KiB")]
        {
            assert_eq!(bytes(count), text);
            assert_eq!(parse_bytes(text), Ok(count as u64));
        }
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for millis in [0, 500, 1000, 86_700_000, 90_061_001] {
            let text = span(Duration::from_millis(millis));
            let value = DeValue::String(text.clone().into());
            assert_eq!(read_span(&value), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["-1s", "soon", "", "1 fortnight"] {
            assert_eq!(read_span(&DeValue::String(bad.into())), None, "{bad}");
        }
    }
}
