//! What operators set and watch: the configuration.

mod config;
