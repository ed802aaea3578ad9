//! The backend for S3 servers, through sockets.
