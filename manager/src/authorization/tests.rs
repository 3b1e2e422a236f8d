//! The table itself: complete, and what it says. That it holds on a real port is tested where the port is.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use expect_test::expect;
use futures_util::future::BoxFuture;
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    time::Timestamp,
};

use super::{Caller, RELAY, Roll, Standing, decide, rpcs};
use crate::ca::{PeerIdentity, Presented, Worthless};

const NODE: NodeId = NodeId::from_bits(1);

/// Every method of every service in the .proto files, as `<service>/<method>`.
fn methods() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto/muster/v1");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the .proto files") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a .proto file");
        let mut service = None;
        for line in text.lines().map(str::trim) {
            let mut words = line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = Some(name.to_owned()),
                (Some("rpc"), Some(name)) => {
                    found.insert(format!("muster.v1.{}/{name}", service.as_deref().expect("in a service")));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_method_has_one_row_and_every_row_a_method() {
    let rows: Vec<String> = rpcs().collect();
    let listed: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(rows.len(), listed.len(), "a row stands twice");
    assert_eq!(listed, methods());
}

#[test]
fn who_may_call_what() {
    let callers = [
        ("nobody", Caller::Nobody),
        ("other CA", Caller::Worthless(Worthless::OtherAuthority)),
        ("expired", Caller::Expired(NODE)),
        ("removed", Caller::Removed(NODE)),
        ("new worker", Caller::Unlisted { node: NODE, role: Role::Worker }),
        ("new manager", Caller::Unlisted { node: NODE, role: Role::Manager }),
        ("worker", Caller::Worker(NODE)),
        ("demoted", Caller::Demoted(NODE)),
        ("manager", Caller::Manager(NODE)),
        ("local", Caller::Local),
    ];
    let mut shown = String::new();
    for rpc in methods().into_iter().chain([RELAY.to_owned()]) {
        let allowed: Vec<&str> =
            callers.iter().filter(|(_, caller)| decide(&rpc, *caller).is_ok()).map(|(name, _)| *name).collect();
        writeln!(shown, "{}: {}", rpc.trim_start_matches("muster.v1."), allowed.join(", ")).expect("a string");
    }
    expect![[r#"
        Control/Backup: manager, local
        Control/CreateService: manager, local
        Control/GetCluster: manager, local
        Control/GetJoinToken: manager, local
        Control/GetNode: manager, local
        Control/GetService: manager, local
        Control/ListNodes: manager, local
        Control/ListServices: manager, local
        Control/ListTasks: manager, local
        Control/PauseRollout: manager, local
        Control/PromoteService: manager, local
        Control/Rebalance: manager, local
        Control/RemoveNode: manager, local
        Control/RemoveService: manager, local
        Control/ResumeRollout: manager, local
        Control/RollbackService: manager, local
        Control/RotateCa: manager, local
        Control/ServiceLogs: manager, local
        Control/UpdateCluster: manager, local
        Control/UpdateNode: manager, local
        Control/UpdateService: manager, local
        Control/WatchService: manager, local
        Dispatcher/Session: new worker, new manager, worker, demoted, manager
        Local/Info: local
        Local/Init: local
        Local/Join: local
        Local/Leave: local
        Local/Recover: local
        Local/Restore: local
        Membership/Depart: new worker, new manager, worker, demoted, manager
        Membership/Join: nobody, manager
        Membership/Renew: expired, new worker, new manager, worker, demoted, manager
        Raft/Append: new manager, demoted, manager
        Raft/Elect: new manager, demoted, manager
        Raft/InstallSnapshot: new manager, demoted, manager
        Raft/Vote: new manager, demoted, manager
        Whereabouts/Tell: new manager, demoted, manager
        muster-relay: new worker, new manager, worker, demoted, manager
    "#]]
    .assert_eq(&shown);
}

#[test]
fn what_is_not_in_the_table_is_denied_to_everybody() {
    for rpc in ["", "/", "muster.v1.Control/Nope", "muster.v1.Nope/CreateService", "CreateService", "//", "relay"] {
        for caller in [Caller::Local, Caller::Manager(NODE)] {
            decide(rpc, caller).expect_err(rpc);
        }
    }
    assert_eq!(decide("/muster.v1.Control/ListNodes", Caller::Local), Ok(()), "as it stands in a request");
}

#[test]
fn what_callers_are_told() {
    let told = [
        ("muster.v1.Control/Nope", Caller::Local),
        ("muster.v1.Dispatcher/Session", Caller::Nobody),
        ("muster.v1.Dispatcher/Session", Caller::Worthless(Worthless::OtherAuthority)),
        ("muster.v1.Membership/Renew", Caller::Worthless(Worthless::LongExpired)),
        ("muster.v1.Membership/Renew", Caller::Worthless(Worthless::NotYetValid)),
        ("muster.v1.Dispatcher/Session", Caller::Expired(NODE)),
        ("muster.v1.Dispatcher/Session", Caller::Removed(NODE)),
        ("muster.v1.Control/ListNodes", Caller::Unlisted { node: NODE, role: Role::Manager }),
        ("muster.v1.Raft/Vote", Caller::Worker(NODE)),
        ("muster.v1.Membership/Join", Caller::Worker(NODE)),
        ("muster.v1.Local/Init", Caller::Manager(NODE)),
        ("muster.v1.Raft/Vote", Caller::Local),
    ];
    let said = told.map(|(rpc, caller)| {
        let status = decide(rpc, caller).expect_err(rpc).status();
        format!("{:?}: {}", status.code(), status.message())
    });
    expect![[r#"
        Unimplemented: this muster does not know the call; run the same version on all nodes
        Unauthenticated: the call carries no certificate and is for members of the cluster; join this host with `muster join`
        Unauthenticated: the certificate that was shown is not of this cluster's CA; run `muster leave --force` on its node and join it again
        Unauthenticated: the certificate that was shown expired too long ago to be renewed; run `muster leave --force` on its node and join it again
        Unauthenticated: the certificate that was shown is not valid yet by this manager's clock; set the clocks of both hosts
        Unauthenticated: the certificate of node 0000000000000000000000001 has expired; its daemon renews it by itself, so try again in a moment
        PermissionDenied: node 0000000000000000000000001 was removed from this cluster; run `muster leave --force` there and join it again
        Unavailable: this manager does not know node 0000000000000000000000001 yet; try again in a moment
        PermissionDenied: node 0000000000000000000000001 is a worker and this is for managers; run the command on a manager, or promote the node first
        PermissionDenied: node 0000000000000000000000001 is a member already; leave the cluster first with `muster leave`
        PermissionDenied: this is answered on the host itself only; run the command there
        PermissionDenied: this is for nodes, through the port for nodes; run one of the commands that `muster --help` lists"#]].assert_eq(&said.join("\n"));
}

#[derive(Debug)]
struct Says(Standing);

impl Roll for Says {
    fn standing(&self, _node: NodeId) -> Standing {
        self.0
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_role_has_to_hold_in_the_certificate_and_in_the_state() {
    let at = Timestamp::from_millis;
    let shows = |role| {
        Presented::Certificate(PeerIdentity {
            cluster_id: ClusterId::from_bits(1),
            node_id: NODE,
            role,
            raft_id: None,
            root: None,
            expires_at: at(1_000),
        })
    };
    let (worker, manager) = (Standing::Member(Role::Worker), Standing::Member(Role::Manager));
    let caller = |role, standing| Caller::of(shows(role), at(500), &Says(standing));
    assert_eq!(caller(Role::Manager, manager), Caller::Manager(NODE));
    assert_eq!(caller(Role::Manager, worker), Caller::Demoted(NODE));
    assert_eq!(caller(Role::Worker, manager), Caller::Worker(NODE), "promoted, and without the certificate yet");
    assert_eq!(caller(Role::Manager, Standing::Removed), Caller::Removed(NODE));

    let later = |standing| Caller::of(shows(Role::Manager), at(1_001), &Says(standing));
    assert_eq!(later(manager), Caller::Expired(NODE));
    assert_eq!(later(Standing::Removed), Caller::Removed(NODE), "however long ago");
    let new = Caller::of(shows(Role::Worker), at(1_000), &Says(Standing::Unlisted));
    assert_eq!(new, Caller::Unlisted { node: NODE, role: Role::Worker });
}
