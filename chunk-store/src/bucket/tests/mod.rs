//! Hazards of a store in a bucket, by number, on a directory in memory and a backend that stops where a test says.
