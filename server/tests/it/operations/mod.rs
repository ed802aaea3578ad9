//! What operators set and watch: the configuration, certificates, the service manager, monitoring and limits.

mod certificate;
mod config;
mod limits;
mod manager;
mod watch;
