//! Entries that make no sense.
