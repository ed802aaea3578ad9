//! Datastores: `/admin/datastore` and what lies below it (rest-api.md §4).

mod files;
pub(crate) mod gc;
mod groups;
pub(crate) mod keep;
mod moves;
mod namespaces;
mod notes;
pub(crate) mod params;
pub(crate) mod place;
mod prune;
mod refresh;
mod snapshots;
mod stores;
pub(crate) mod verify;

use super::{Access, Endpoint};
use crate::Server;
use crate::auth::Privileges;

/// Who may list: everything with Datastore.Audit, own groups with Datastore.Backup.
const LIST: Access =
    Access::Datastore { full: Privileges::DATASTORE_AUDIT, own: Privileges::DATASTORE_BACKUP };
/// Who may remove: anything with Datastore.Modify, own groups with Datastore.Prune.
const DELETE: Access =
    Access::Datastore { full: Privileges::DATASTORE_MODIFY, own: Privileges::DATASTORE_PRUNE };
/// Who may read: anything with Datastore.Read, own groups with Datastore.Backup.
const READ: Access =
    Access::Datastore { full: Privileges::DATASTORE_READ, own: Privileges::DATASTORE_BACKUP };

/// The tables of this module.
pub(super) static TABLES: &[&[Endpoint<Server>]] = &[
    stores::ENDPOINTS,
    groups::ENDPOINTS,
    snapshots::ENDPOINTS,
    files::ENDPOINTS,
    notes::ENDPOINTS,
    namespaces::ENDPOINTS,
    moves::ENDPOINTS,
    prune::ENDPOINTS,
    gc::ENDPOINTS,
    verify::ENDPOINTS,
    refresh::ENDPOINTS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::assert_tables_are_sound;

    #[test]
    fn the_tables_are_sound() {
        for table in TABLES {
            assert_tables_are_sound(table);
        }
    }
}
