//! Small numbers that must not be mistaken for one another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    )*};
}

number! {
    /// The log index of the last change to an object; a writer names the one it read.
    Version,
    /// The log index of the commit that assigned a task to its node. Higher wins, on both sides of the session.
    Fence,
    /// The log index at which a service's task template took its present content. Two tasks with the same number run
    /// the same template.
    TemplateVersion,
    /// The reign of one leader: its Raft term and its own number. The later of two has the higher one.
    Term,
    /// A manager's number in the Raft group. Never given twice: a manager whose store is lost comes back as another.
    RaftId,
}
