//! Commands with which hosts become nodes, managers, workers again, and nobody.

use expect_test::expect;
use muster_manager::{
    authorization::Denied,
    ca::{JoinToken, digest_of},
    raft::standing::Dismissal,
};
use muster_proto::{id::NodeId, v1};
use tonic::Status;

use super::super::{
    Fixed,
    fake::{World, run, run_within},
    objects::{id, node},
};
use super::{check, shown, world};

/// `host1` leads, `host2` is a worker.
fn two_nodes() -> World {
    let mut world = world();
    let mut worker = node("n2", "host2");
    (worker.role, worker.leader) = (v1::Role::Worker.into(), false);
    world.nodes.push(worker);
    world
}

#[test]
fn the_first_of_a_cluster_says_how_others_join() {
    let ran = check(
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
    assert_eq!(ran.world.tokens_asked[0].role(), v1::Role::Worker);
    let ran = run(World { unavailable_left: 1, ..world() }, "init --advertise-addr 10.0.0.1");
    assert_eq!(ran.code, 0, "the cluster stands all the same");
    assert!(ran.stdout.contains("`muster join-token worker` shows how a host joins as a worker"), "{}", ran.stdout);
}

#[test]
fn tokens_come_with_the_command_to_type() {
    check(
        "join-token worker",
        expect![[r#"
        to add a worker to this cluster, run on its host:

            muster join --token MST-1-role_worker 10.0.0.1:7377

        exit code 0
    "#]],
    );
    let three = ["10.0.0.1:7377", "10.0.0.2:7377", "10.0.0.3:7377"].map(str::to_owned);
    let ran = run(World { managers: three.to_vec(), ..world() }, "join-token manager --ttl 1h --uses 2");
    expect![[r#"
        to add a manager to this cluster, run on its host:

            muster join --token MST-1-role_manager 10.0.0.1:7377

        any manager lets it in: 10.0.0.1:7377 or 10.0.0.2:7377 or 10.0.0.3:7377
        the token is good until 2026-11-22T01:00:00.000Z
        the token lets 2 hosts join
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let asked = &ran.world.tokens_asked[0];
    assert_eq!((asked.ttl_ms, asked.uses, asked.rotate), (Some(3_600_000), Some(2), false));
    let ran = check(
        "join-token worker --rotate",
        expect![[r#"
        to add a worker to this cluster, run on its host:

            muster join --token MST-1-role_worker 10.0.0.1:7377

        stderr: every earlier worker token is void; nodes that have joined are not concerned
        exit code 0
    "#]],
    );
    assert!(ran.world.tokens_asked[0].rotate);
    check(
        "join-token --quiet --rotate manager",
        expect![[r#"
        MST-1-role_manager
        exit code 0
    "#]],
    );
    for wrong in [
        "join-token",
        "join-token leader",
        "join-token worker --ttl 0",
        "join-token worker --uses 0",
        "join-token worker --rotate --uses 1",
    ] {
        let ran = run(world(), wrong);
        assert_eq!((ran.code, ran.world.tokens_asked.len()), (2, 0), "{wrong}");
    }
}

fn token() -> String {
    let secret = "0000000000000000000000001".parse().expect("25 characters of base 36");
    JoinToken { ca: digest_of(b"a certificate"), secret }.to_string()
}

#[test]
fn a_host_joins() {
    let alone = World { managers: Vec::new(), ..World::default() };
    let ran = run(alone, &format!("join --token {} --advertise-addr 10.0.0.2 host1", token()));
    expect![[r#"
        this node (n200000000000000000000000) has joined cluster c100000000000000000000000 as a worker, at 10.0.0.2:7377
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let asked = v1::JoinClusterRequest {
        token: token(),
        address: "host1".to_owned(),
        advertise_addr: "10.0.0.2".to_owned(),
        availability: v1::Availability::Active.into(),
    };
    assert_eq!(ran.world.joined, [asked]);
    let second = World { managers: vec![String::new(); 2], ..World::default() };
    let ran = run(second, &format!("join --availability drain --token {} [fd00::1]:7377", token()));
    expect![[r#"
        this node (n200000000000000000000000) has joined cluster c100000000000000000000000 as a manager, at 10.0.0.2:7377
        stderr: it has no vote until it has caught up; `muster node ls` shows when it is Reachable
        stderr: warning: 2 managers withstand the loss of no more than 1 would; add one, or make one a worker with `muster node demote`
        exit code 0
    "#]].assert_eq(&shown(&ran));
    assert_eq!(ran.world.joined[0].availability(), v1::Availability::Drain);
}

#[test]
fn a_wrong_token_or_address_is_not_sent() {
    let mistyped = token().replace("-1-", "-1-0");
    for (line, said) in [
        ("join host1".to_owned(), "--token <TOKEN>"),
        ("join --token SWMTKN-1-abc host1".to_owned(), "this is no join token"),
        (format!("join --token {mistyped} host1"), "87 characters long instead of 86"),
        (format!("join --token {}", token()), "<HOST:PORT>"),
        (format!("join --token {} host1:0", token()), "port 0 is nobody's"),
        (format!("join --token {} http://host1", token()), "invalid address"),
        (format!("join --token {} --advertise-addr :7377 host1", token()), "it names no host"),
    ] {
        let ran = run(World::default(), &line);
        assert!(ran.code == 2 && ran.world.joined.is_empty() && ran.stderr.contains(said), "{line}: {}", ran.stderr);
    }
}

#[test]
fn nodes_are_promoted_and_demoted() {
    let even = vec!["2 managers withstand no more than one would".to_owned()];
    let ran = run(World { warnings: even, ..two_nodes() }, "node promote host2 self nobody");
    expect![[r#"
        node host2 is a manager now
        node self is a manager already
        stderr: muster: no node nobody; `muster node ls` lists them
        stderr: warning: 2 managers withstand no more than one would
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    let asked = &ran.world.nodes_updated[0];
    assert_eq!((asked.node.clone(), asked.role(), asked.labels.len()), (id("n2"), v1::Role::Manager, 1));

    let ran = run(two_nodes(), "node promote --detach host2");
    assert_eq!(shown(&ran), "node host2 becomes a manager\nexit code 0\n");
    let ran = run(two_nodes(), "node demote self");
    assert_eq!(shown(&ran), "node self is a worker now\nexit code 0\n");
    assert_eq!(ran.world.nodes_updated[0].role(), v1::Role::Worker);
}

/// What becomes of another node it cannot tell: the answer is about this host.
#[test]
fn who_is_no_manager_any_more_says_nothing_of_the_node_that_it_demotes() {
    let mut world = World { demotes_own: true, ..two_nodes() };
    world.nodes[1].role = v1::Role::Manager.into();
    world.nodes[1].manager = Some(v1::ManagerStatus { raft_id: 2, voter: true, reachable: true, lag: 0 });
    let ran = run(world, "node demote host2");
    expect![[r#"
        stderr: muster: this node is a worker and this is for managers
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn a_promotion_outlives_an_election() {
    let ran = run(World { aborts_left: 1, ..two_nodes() }, "node promote host2");
    assert_eq!(shown(&ran), "node host2 is a manager now\nexit code 0\n");
}

/// Its own node is heard as a worker before it has the answer. Another one's refusal is one.
#[test]
fn who_is_denied_has_changed_its_own_node_at_most() {
    let denied = || World { denies_updates: true, ..two_nodes() };
    assert_eq!(shown(&run(denied(), "node update --role worker self")), "self\nexit code 0\n");
    for line in ["node update --role worker host2", "node update --role manager self"] {
        let ran = run(denied(), line);
        assert!(ran.code == 1 && ran.stderr.contains("only managers may ask for that"), "{line}: {}", shown(&ran));
    }
}

#[test]
fn a_role_is_changed_with_the_rest() {
    let ran = run(two_nodes(), "node update --role manager --availability drain host2");
    assert_eq!(shown(&ran), "host2\nexit code 0\n");
    let asked = &ran.world.nodes_updated[0];
    assert_eq!((asked.role(), asked.availability()), (v1::Role::Manager, v1::Availability::Drain));
}

#[test]
fn nodes_are_removed() {
    let ran = run(two_nodes(), "node rm host2");
    expect![[r#"
        stderr: muster: node host2 is up; run `muster leave` on it, or repeat with --force
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    let ran =
        run(World { warnings: vec!["2 managers are left".to_owned()], ..two_nodes() }, "node rm --force host2 nobody");
    expect![[r#"
        host2
        stderr: warning: 2 managers are left
        stderr: muster: no node nobody; `muster node ls` lists them
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.nodes_removed, [v1::RemoveNodeRequest { node: id("n2"), force: true }]);
}

/// The others have let it go, and with it the answer.
#[test]
fn who_removes_its_own_node_has_done_so_once_it_is_told_that_it_is_removed() {
    let own = NodeId::from_bits(7);
    let told = |refusals: &[Status]| {
        let mut world = World { removals_refused: refusals.iter().cloned().collect(), ..two_nodes() };
        world.nodes[0].id = own.to_string();
        world.membership.as_mut().unwrap().node_id = own.to_string();
        world
    };
    let gone = Denied::Removed(own).status();
    // As this host's daemon passes it on once its manager has ended.
    let heard = Status::failed_precondition(gone.message());
    let let_go = Status::failed_precondition(Dismissal::Retired.to_string());
    let elsewhere = Status::failed_precondition("this node is a worker of its cluster; run the command on its manager");
    for refusals in [&[gone.clone()][..], &[let_go.clone(), let_go.clone(), heard]] {
        expect![[r#"
            self
            stderr: warning: this host is no node of the cluster any more; `muster leave --force` removes its containers, and it may join again then
            exit code 0
        "#]].assert_eq(&shown(&run(told(refusals), "node rm --force self")));
    }
    let ran = run(told(&[gone]), "node rm --force host2");
    assert!(ran.code == 1 && ran.stderr.contains("was removed from this cluster"), "{}", shown(&ran));
    for refusals in [&[Denied::Worker(own).status()][..], &[let_go, elsewhere]] {
        let ran = run(told(refusals), "node rm --force self");
        assert!(ran.code == 1 && ran.stderr.contains("is a worker"), "{}", shown(&ran));
    }
}

#[test]
fn the_root_is_shown_and_replaced() {
    check(
        "ca",
        expect![[r#"
        -----BEGIN CERTIFICATE-----
        AAAA
        -----END CERTIFICATE-----
        stderr: digest 1111111111111111111111111111111111111111111111111111111111111111
        exit code 0
    "#]],
    );
    check(
        "ca --format '{{.Rotating}} {{.Nodes}}'",
        expect![[r#"
        false 3
        exit code 0
    "#]],
    );
    let waiting = World { ca_waiting_for: vec!["host3".to_owned(), "host2".to_owned()], ..world() };
    let ran = run(World { unavailable_left: 1, ..waiting.clone() }, "ca rotate");
    expect![[r#"
        2222222222222222222222222222222222222222222222222222222222222222
        stderr: join tokens of before are void; `muster join-token worker` and `muster join-token manager` show the new ones
        stderr: rotating: 2 of 3 nodes to go: host3, host2
        stderr: rotating: 1 of 3 nodes to go: host3
        stderr: the root is new on all of 3 nodes, and the former one is trusted no more
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.ca_asked, [false, true, false, false]);
    let ran = run(waiting, "ca rotate --detach");
    assert!(ran.stderr.starts_with("join tokens of before are void"), "{}", ran.stderr);
    assert_eq!(ran.world.ca_asked, [false, true]);
}

#[test]
fn going_on_alone_is_confirmed() {
    let ran = run(world(), "recover");
    assert!(ran.code == 2 && ran.world.recovered.is_empty() && ran.stderr.contains("--yes"), "{}", ran.stderr);
    for answer in ["", "n", "no"] {
        let ran = run_within(&Fixed::default().answers(&[answer]), world(), "recover");
        assert!(ran.code == 1 && ran.world.recovered.is_empty(), "{answer}: {}", ran.stderr);
    }
    let ran = run_within(&Fixed::default().answers(&["Y"]), world(), "recover --force --advertise-addr 10.0.0.9");
    expect![[r#"
        cluster c100000000000000000000000 goes on with 1 service: this node is its only manager (incarnation 2)

        managers of before are managers no more: host2, host3
        each that returns goes on as a worker; make it a manager again with `muster node promote`

        to add a manager to this cluster, run on its host:

            muster join --token MST-1-role_manager 10.0.0.1:7377

        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let asked = v1::RecoverRequest { force: true, advertise_addr: "10.0.0.9".to_owned() };
    assert_eq!(ran.world.recovered, [asked]);
    assert_eq!(run(world(), "recover --yes").code, 0);
}
