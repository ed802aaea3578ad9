//! The client half of the backup protocol: REST, backup writer, reader, chunkers, keys.
