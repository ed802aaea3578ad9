//! What operators set and watch: the configuration and monitoring.

mod config;
mod watch;
