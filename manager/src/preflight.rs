//! What a manager asks its own host before it accepts a spec. Implemented by the daemon, with its agent's executor.

use async_trait::async_trait;
use muster_proto::pin::{ImagePin, Unresolved};

#[async_trait]
pub trait Preflight: std::fmt::Debug + Send + Sync + 'static {
    /// What the tag means now, or why nobody can say: then the service is accepted with a warning.
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, Unresolved>;

    /// Whether an ingress port could be opened on this host, or who stands in the way. A port that this node's own
    /// ingress holds already is free.
    async fn check_ingress_port(&self, port: u16) -> Result<(), String>;
}
