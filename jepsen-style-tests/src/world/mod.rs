//! The worlds a cluster can run in.

#[cfg(madsim)]
pub mod sim;
