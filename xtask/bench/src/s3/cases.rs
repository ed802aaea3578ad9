//! The cases of `bench s3`.

/// What a client is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Get,
    List,
    Delete,
}

/// One case.
#[derive(Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Bytes in each object.
    pub(crate) size: usize,
    pub(crate) in_flight: usize,
    /// Objects put or got, or keys listed or deleted.
    pub(crate) objects: usize,
    /// Distinct keys among them.
    pub(crate) keys: usize,
}

/// Requests under way, and how many objects of each size are then moved: enough for about a second.
const IN_FLIGHT: &[(usize, [usize; 2])] = &[(1, [256, 4096]), (16, [512, 8192]), (64, [512, 8192])];
const SIZES: [(&str, usize); 2] = [("4 MiB", 4 << 20), ("64 KiB", 64 << 10)];

/// Distinct keys: enough that requests under way rarely meet at one, few enough that the server keeps half a gibibyte at most.
const KEYS: usize = 128;

/// Keys that are listed, and deleted.
const MANY: usize = 100_000;

/// Multi-deletes under way, each of 1000 keys.
const DELETES_IN_FLIGHT: usize = 16;

/// Objects put at once, to be got, listed or deleted.
const FILL_IN_FLIGHT: usize = 64;

impl Kind {
    /// What the worker calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::List => "list",
            Kind::Delete => "delete",
        }
    }
}

impl Case {
    /// The put that makes the objects that this case needs.
    pub(crate) fn needed(&self) -> Case {
        let (name, in_flight) = (format!("what is needed to {}", self.name), FILL_IN_FLIGHT.min(self.keys));
        Case { name, kind: Kind::Put, size: self.size, in_flight, objects: self.keys, keys: self.keys }
    }
}

/// All cases; `quick` makes them a tenth as long.
pub(crate) fn all(quick: bool) -> Vec<Case> {
    let shorter = if quick { 10 } else { 1 };
    let mut cases = Vec::new();
    for (idx, (size_name, size)) in SIZES.into_iter().enumerate() {
        for kind in [Kind::Put, Kind::Get] {
            for (in_flight, objects) in IN_FLIGHT {
                let name = format!("{} {size_name} x{in_flight}", kind.name());
                let objects = objects[idx] / shorter;
                cases.push(Case {
                    name,
                    kind,
                    size,
                    in_flight: *in_flight,
                    objects,
                    keys: KEYS.min(objects),
                });
            }
        }
    }
    let many = MANY / shorter;
    let name = format!("list {many} keys");
    cases.push(Case { name, kind: Kind::List, size: 0, in_flight: 1, objects: many, keys: many });
    let name = format!("delete {many} keys x{DELETES_IN_FLIGHT}");
    let in_flight = DELETES_IN_FLIGHT;
    cases.push(Case { name, kind: Kind::Delete, size: 0, in_flight, objects: many, keys: many });
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_those_that_were_asked_for() {
        let names: Vec<String> = all(false).into_iter().map(|case| case.name).collect();
        assert_eq!(names.len(), 14);
        for name in
            ["put 4 MiB x1", "get 4 MiB x64", "put 64 KiB x16", "list 100000 keys", "delete 100000 keys x16"]
        {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn quick_means_less_of_the_same() {
        for (long, quick) in all(false).iter().zip(all(true)) {
            assert_eq!((long.kind, long.size, long.in_flight), (quick.kind, quick.size, quick.in_flight));
            assert!(quick.objects > 0 && quick.objects < long.objects && quick.keys <= quick.objects);
        }
    }
}
