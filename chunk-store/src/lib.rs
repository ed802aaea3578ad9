//! A content-addressed chunk store with safe concurrent insert and sweep.
