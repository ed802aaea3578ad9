//! Connections: TLS, HTTP/1.1 with upgrade, HTTP/2 after it.

mod gate;
mod h2;
mod listener;
mod monitor;
mod service;
mod tls;

pub use h2::{Bounds, CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX, serve_h2};
pub use listener::{DEFAULT_PORT, ListenError, Listener};
pub use monitor::Monitor;
pub use service::Service;
pub use tls::Tls;
