//! Why this manager cannot go on: the first reason, in words for the user. Openraft's own error keeps the cause but
//! speaks to programmers.

use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<OnceLock<Arc<str>>>);

impl Failure {
    /// Later reasons follow from the first and are dropped.
    pub(crate) fn note(&self, why: String) {
        self.0.get_or_init(|| why.into());
    }

    pub(crate) fn get(&self) -> Option<Arc<str>> {
        self.0.get().cloned()
    }
}
