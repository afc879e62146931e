//! The worlds a cluster can run in.

#[cfg(not(madsim))]
pub mod process;
#[cfg(madsim)]
pub mod sim;
