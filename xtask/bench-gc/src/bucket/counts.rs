//! How many requests of each kind there were, and how many at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    List,
    Get,
    Head,
    Put,
    MultiDelete,
    Other,
}

const KINDS: [Kind; 6] = [Kind::List, Kind::Get, Kind::Head, Kind::Put, Kind::MultiDelete, Kind::Other];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::List => "list",
            Kind::Get => "get",
            Kind::Head => "head",
            Kind::Put => "put",
            Kind::MultiDelete => "delete",
            Kind::Other => "other",
        }
    }
}

/// Requests by the name of their kind; kinds without any are left out.
pub(crate) type Requests = BTreeMap<&'static str, u64>;

/// Counts requests.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_kind: [AtomicU64; KINDS.len()],
    under_way: AtomicU64,
    under_way_max: AtomicU64,
}

impl Counts {
    /// Counts a request; it is under way until the answer of this is dropped.
    pub(crate) fn begin(&self, kind: Kind) -> UnderWay<'_> {
        self.by_kind[kind as usize].fetch_add(1, Ordering::Relaxed);
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(under_way, Ordering::Relaxed);
        UnderWay(self)
    }

    pub(crate) fn requests(&self) -> Requests {
        let counts =
            KINDS.iter().map(|kind| (kind.name(), self.by_kind[*kind as usize].load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Most requests that were under way at once.
    pub(crate) fn at_once(&self) -> u64 {
        self.under_way_max.load(Ordering::Relaxed)
    }
}

/// A request that is under way.
pub(crate) struct UnderWay<'a>(&'a Counts);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind_and_at_once() {
        let counts = Counts::default();
        drop(counts.begin(Kind::List));
        let two = (counts.begin(Kind::List), counts.begin(Kind::MultiDelete));
        drop(two);
        assert_eq!(counts.requests(), Requests::from([("list", 2), ("delete", 1)]));
        assert_eq!(counts.at_once(), 2);
    }
}
