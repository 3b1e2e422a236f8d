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

impl fmt::Display for ImagePin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImagePin::Digest(digest) | ImagePin::LocalId(digest) => out.write_str(digest),
        }
    }
}
