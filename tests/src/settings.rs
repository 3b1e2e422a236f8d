//! A cluster's settings, changed through the control API as a test needs them.

use muster_cli::connect;
use muster_proto::v1;

use crate::{daemon::Daemon, engine::block_on};

/// Through any manager.
pub fn change(daemon: &Daemon, change: impl FnOnce(&mut v1::ClusterSpec)) {
    block_on(async {
        let host: connect::Host = daemon.socket().display().to_string().parse().expect("the path of a socket");
        let mut control = connect::Daemon::connect(&host).await.expect("the daemon answers").control();
        let cluster = control.get_cluster(v1::GetClusterRequest {}).await.expect("a cluster").into_inner();
        let mut spec = cluster.spec.expect("a cluster has settings");
        change(&mut spec);
        let request = v1::UpdateClusterRequest { version: cluster.version, spec: Some(spec) };
        control.update_cluster(request).await.expect("the settings are taken");
    });
}
