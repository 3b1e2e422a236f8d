//! What is told of this host, and of the state that nodes and managers are in.

use expect_test::expect;
use muster_proto::v1;

use super::super::{
    fake::{World, run},
    objects::node,
};
use super::{check, shown, world};

#[test]
fn this_host() {
    check(
        "info",
        expect![[r#"
            Daemon:
             Version:           0.1.0
             Hostname:          host1
             Data folder:       /var/lib/muster
             Listens on:        0.0.0.0:7377
             PID:               4711
             Engine:            docker 20.10.24
            Node:
             ID:                n100000000000000000000000
             Address:           10.0.0.1:7377
             Role:              manager
             Certificate until: 2026-11-23T00:00:00.000Z
            Cluster:
             ID:                c100000000000000000000000
             Incarnation:       1
             Manager:           host1 at 10.0.0.1:7377, Leader
             Created:           2026-11-22T00:00:00.000Z
             Managers:          1
             Nodes:             1
             Services:          2
             Tasks running:     7
             Task history:      5 for each slot
             Heartbeat:         1s
             Lease:             3s
             Default memory:    1GiB
             Default pids:      4096
             Raft:              term 1, applied 42
            exit code 0
        "#]],
    );
    check(
        "info --format '{{.Cluster.TasksRunning}}'",
        expect![[r#"
        7
        exit code 0
    "#]],
    );
    check(
        "init --advertise-addr 10.0.0.1",
        expect![[r#"
            cluster c100000000000000000000000 initialized: this node (n100000000000000000000000) is its manager, at 10.0.0.1:7377

            to add a worker to this cluster, run on its host:

                muster join --token MST-1-role_worker 10.0.0.1:7377

            to add a manager, run `muster join-token manager` here and do what it says

            start a service with:

                muster service create --name web --replicas 3 -p 8000:8000 IMAGE
            exit code 0
        "#]],
    );
    check(
        "leave",
        expect![[r#"
        stderr: muster: this node is the last manager; leave with --force
        exit code 1
    "#]],
    );
    check(
        "leave --force",
        expect![[r#"
        this node has left the cluster; 3 containers removed
        exit code 0
    "#]],
    );
    let ran = run(World { warnings: vec!["2 managers are left".to_owned()], ..world() }, "leave --force");
    assert_eq!(ran.stderr, "warning: 2 managers are left\n");
    check(
        "version --format '{{.Server.Version}} {{.Server.Engine}}'",
        expect![[r#"
        0.1.0 docker
        exit code 0
    "#]],
    );
}

#[test]
fn a_host_in_no_cluster() {
    let ran = run(World::default(), "info --format '{{.Hostname}} {{.Membership.NodeID}}|'");
    expect![[r#"
        host1 |
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let ran = run(World::default(), "node inspect self");
    expect![[r#"
        []
        stderr: muster: this host is in no cluster; start one with `muster init`, or join one with `muster join`
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn managers_in_every_state() {
    let with = |name: &str, hostname: &str, role: v1::Role, manager: Option<(bool, bool)>| v1::Node {
        role: role.into(),
        leader: false,
        address: format!("10.0.0.{}:7377", &name[1..]),
        manager: manager.map(|(voter, reachable)| v1::ManagerStatus { raft_id: 3, voter, reachable, lag: 2 }),
        last_seen: Some(crate::testing::NOW.millis() - 4_000),
        certificate_expires_at: Some(crate::testing::NOW.millis() + 86_400_000),
        ..node(name, hostname)
    };
    let mut nodes = world().nodes;
    nodes.extend([
        with("n2", "host2", v1::Role::Manager, Some((true, true))),
        with("n3", "host3", v1::Role::Manager, Some((true, false))),
        with("n4", "host4", v1::Role::Manager, Some((false, false))),
        with("n5", "host5", v1::Role::Manager, None),
        with("n6", "host6", v1::Role::Worker, None),
        with("n7", "host7", v1::Role::Worker, Some((true, true))),
        v1::Node { last_seen: None, state: v1::NodeState::Down.into(), ..with("n8", "host8", v1::Role::Worker, None) },
    ]);
    let world = World { nodes, ..world() };
    expect![[r#"
        ID                            HOSTNAME   STATUS    AVAILABILITY   ROLE      MANAGER STATUS   ADDRESS         ENGINE            VERSION   LAST SEEN
        n100000000000000000000000 *   host1      Ready     Active         manager   Leader           10.0.0.1:7377   docker 20.10.24   0.1.0
        n200000000000000000000000     host2      Ready     Active         manager   Reachable        10.0.0.2:7377   docker 20.10.24   0.1.0     4 seconds ago
        n300000000000000000000000     host3      Ready     Active         manager   Unreachable      10.0.0.3:7377   docker 20.10.24   0.1.0     4 seconds ago
        n400000000000000000000000     host4      Ready     Active         manager   Learner          10.0.0.4:7377   docker 20.10.24   0.1.0     4 seconds ago
        n500000000000000000000000     host5      Ready     Active         manager   Learner          10.0.0.5:7377   docker 20.10.24   0.1.0     4 seconds ago
        n600000000000000000000000     host6      Ready     Active         worker                     10.0.0.6:7377   docker 20.10.24   0.1.0     4 seconds ago
        n700000000000000000000000     host7      Ready     Active         worker    Leaving          10.0.0.7:7377   docker 20.10.24   0.1.0     4 seconds ago
        n800000000000000000000000     host8      Down      Active         worker                     10.0.0.8:7377   docker 20.10.24   0.1.0     not by this leader
        exit code 0
    "#]].assert_eq(&shown(&run(world.clone(), "node ls")));
    expect![[r#"
        ID:                 n300000000000000000000000
        Hostname:           host3
        Labels:             zone=a
        Joined:             24 hours ago
        Role:               manager
        Address:            10.0.0.3:7377
        Status:
         State:             Ready
         Availability:      Active
         Last seen:         4 seconds ago
         Certificate until: 2026-11-23T00:00:00.000Z
        Manager:
         Status:            Unreachable
         Raft ID:           3
         Behind by:         2 entries
        Platform:
         OS:                linux
         Architecture:      x86_64
        Resources:
         CPUs:              4
         Memory:            8GiB
        Engine:
         Name:              docker
         Version:           20.10.24
        Muster Version:     0.1.0
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "node inspect --pretty host3")));
    expect![[r#"
        {"Leader":false,"Reachability":"reachable","Addr":"10.0.0.2:7377","RaftID":3,"Voter":true,"Lag":2}
        null
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "node inspect --format '{{json .ManagerStatus}}' host2 host6")));
    expect![[r#"
        Daemon:
         Version:           0.1.0
         Hostname:          host1
         Data folder:       /var/lib/muster
         Listens on:        0.0.0.0:7377
         PID:               4711
         Engine:            docker 20.10.24
        Node:
         ID:                n100000000000000000000000
         Address:           10.0.0.1:7377
         Role:              manager
         Certificate until: 2026-11-23T00:00:00.000Z
        Cluster:
         ID:                c100000000000000000000000
         Incarnation:       1
         Manager:           host1 at 10.0.0.1:7377, Leader
         Manager:           host2 at 10.0.0.2:7377, Reachable
         Manager:           host3 at 10.0.0.3:7377, Unreachable
         Manager:           host4 at 10.0.0.4:7377, Learner
         Manager:           host5 at 10.0.0.5:7377, Learner
         Manager:           host7 at 10.0.0.7:7377, Leaving
         Created:           2026-11-22T00:00:00.000Z
         Managers:          1
         Nodes:             1
         Services:          2
         Tasks running:     7
         Task history:      5 for each slot
         Heartbeat:         1s
         Lease:             3s
         Default memory:    1GiB
         Default pids:      4096
         Raft:              term 1, applied 42
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "info")));
    let ran = run(World { unavailable_left: 1, ..world }, "info");
    assert_eq!(ran.code, 0, "the host is told of all the same");
    assert!(ran.stdout.contains("Trouble:           the managers have no leader"), "{}", ran.stdout);
}

#[test]
fn a_worker_says_why_no_manager_has_a_session_with_it() {
    let why = "no session with 10.0.0.1:7377: the node was removed";
    let membership = world().membership.map(|own| v1::Member { manager: false, trouble: Some(why.to_owned()), ..own });
    let world = World { membership, ..world() };
    let ran = run(world.clone(), "info");
    assert!(
        ran.stdout.contains(&format!(" Trouble:           {why}\n Managers:          10.0.0.1:7377\n")),
        "{}",
        ran.stdout
    );
    assert_eq!(shown(&run(world, "info --format '{{.ClusterTrouble}}'")), format!("{why}\nexit code 0\n"));
}
