//! What a tag meant when the service was created or updated.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Every replica on every node runs this, whatever the tag means later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImagePin {
    /// `sha256:…` of the manifest: any node can pull it.
    Digest(String),
    /// `sha256:…` of the configuration, for an image that no registry has: only nodes that hold it can run it.
    LocalId(String),
}

/// Why nobody can say what a tag means now, in the words of whoever was asked. What it means for a service is the
/// manager's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// This host does not hold the image, and its registry has none of that name.
    Missing(String),
    /// This host does not hold it, and its registry shows it to nobody without a login. Some say so of what they do not
    /// have, too.
    Denied(String),
    /// This host does not hold it, and its registry cannot be reached.
    Unreachable(String),
    /// Whatever else is in the way: an engine that is away, an answer that makes no sense.
    Unknown(String),
}

impl fmt::Display for ImagePin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImagePin::Digest(digest) | ImagePin::LocalId(digest) => out.write_str(digest),
        }
    }
}
