//! The managers' end of the agents' sessions.

pub(crate) mod log_streams;
pub(crate) mod sessions;
