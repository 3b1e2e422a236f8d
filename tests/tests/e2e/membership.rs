//! Who becomes a node, who does not and what is said then; roles; leaving; being removed; coming back elsewhere.

use std::{fs, net::TcpListener, path::Path};

use muster_chaos::hosts::{self, Hosts};
use muster_manager::ca::{Credentials, Expect, Keeper};
use muster_proto::v1::dispatcher_client::DispatcherClient;
use muster_tests::{
    cluster::{Cluster, Loopback},
    daemon::{Daemon, Engine, PORT, Place},
    wait,
};
use tonic::Code;

use crate::MUSTER;

/// A sentence or two, no debug output, and nothing left behind.
fn is_refused(host: &Daemon, args: &[&str], words: &[&str]) {
    let said = host.refused(args);
    assert!(said.lines().count() <= 4, "{said}");
    for sign in ["panicked", "Status {", "Some(", "Err(", "Error {"] {
        assert!(!said.contains(sign), "{said}");
    }
    for word in words {
        assert!(said.contains(word), "muster {args:?} does not say {word:?}: {said}");
    }
    assert!(host.ok(&["info"]).contains("muster init"), "the host is in a cluster after a join that failed");
    assert!(!host.data_dir().join("member/node.json").exists(), "a join that failed left something behind");
}

fn token(of: &Daemon, flags: &[&str]) -> String {
    of.ok(&[&["join-token", "--quiet"], flags, &["worker"]].concat())
}

/// A host that is in no cluster yet, beside those of a cluster.
fn newcomer() -> Daemon {
    Daemon::start_at(MUSTER, Engine::Sim, Loopback::new().place(0))
}

fn nodes(daemon: &Daemon) -> usize {
    daemon.ok(&["node", "ls", "-q"]).lines().count()
}

#[test]
fn tokens_that_do_not_let_in() {
    let cluster = Cluster::of(MUSTER, 1);
    let foreign = Cluster::of(MUSTER, 1);
    let host = newcomer();
    let address = cluster[0].address().to_string();
    let join = |token: &str, words: &[&str]| is_refused(&host, &["join", "--token", token, &address], words);

    let good = token(&cluster[0], &[]);
    let printed = host.run(&["join", "--token", "MST-1-nonsense", &address]);
    assert!(!printed.status.success() && printed.stderr.contains("token"), "{printed:#?}");
    // Another root than the one that answers, so nothing is sent.
    join(&token(&foreign[0], &[]), &["token"]);
    // The right root, and a secret of nobody: the one that a rotation has voided.
    cluster[0].ok(&["join-token", "--quiet", "--rotate", "worker"]);
    join(&good, &["token"]);

    let once = token(&cluster[0], &["--uses", "1"]);
    let other = newcomer();
    other.ok(&["join", "--token", &once, &address]);
    join(&once, &["token"]);

    let brief = token(&cluster[0], &["--ttl", "1s"]);
    let expired = wait::until("the token to expire", || {
        let printed = host.run(&["join", "--token", &brief, &address]);
        if printed.status.success() {
            // The machine was fast: it is a node now, and shall not be.
            host.ok(&["leave", "--force"]);
        }
        if printed.stderr.contains("expired") { Ok(printed.stderr) } else { Err(printed) }
    });
    assert!(expired.contains("muster join-token"), "{expired}");
}

#[test]
fn addresses_that_do_not_answer_or_are_not_managers() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    let host = newcomer();
    let token = token(&cluster[0], &[]);
    let join = |address: &str, words: &[&str]| is_refused(&host, &["join", "--token", &token, address], words);
    let nobody = format!("{}:{PORT}", Loopback::new().address(1));
    join(&nobody, &[&nobody]);

    // Something else listens there, which never says a word of TLS.
    let other = TcpListener::bind((Loopback::new().address(2), 0)).unwrap();
    let address = other.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        use std::io::Write;
        for stream in other.incoming().take(1).flatten() {
            let mut stream = stream;
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    join(&address, &[&address]);
    server.join().unwrap();

    // In no cluster, and a worker.
    let idle = newcomer();
    join(&idle.address().to_string(), &[&idle.address().to_string()]);
    join(&cluster[1].address().to_string(), &["manager"]);
}

#[test]
fn advertised_addresses_are_checked() {
    let cluster = Cluster::of(MUSTER, 1);
    let host = newcomer();
    let (token, address) = (token(&cluster[0], &[]), cluster[0].address().to_string());
    let unreachable = format!("{}:{PORT}", Loopback::new().address(3));
    is_refused(&host, &["join", "--token", &token, "--advertise-addr", &unreachable, &address], &[&unreachable]);
    // That of a node which is there already.
    is_refused(&host, &["join", "--token", &token, "--advertise-addr", &address, &address], &[&address]);
    assert_eq!(nodes(&cluster[0]), 1);
}

#[test]
fn a_cluster_does_not_begin_at_an_address_that_is_none() {
    let host = newcomer();
    is_refused(&host, &["init", "--advertise-addr", "0.0.0.0"], &["0.0.0.0", "--advertise-addr"]);
    // Nobody listens there.
    let nobody = format!("{}:{PORT}", Loopback::new().address(3));
    let said: &[&str] = &[&format!("{nobody} does not lead to this host"), "--advertise-addr"];
    is_refused(&host, &["init", "--advertise-addr", &nobody], said);
    host.ok(&["init"]);
}

#[test]
fn a_daemon_is_not_moved_to_where_it_does_not_listen() {
    let mut cluster = Cluster::of(MUSTER, 1);
    let (here, there) = (cluster[0].place().clone(), Loopback::new().place(0));
    cluster[0].stop();
    cluster[0].move_to(here.clone().advertised_as(&there));
    let said = cluster[0].refuses_to_start();
    assert!(said.contains("does not lead to this host") && said.contains("--advertise-addr"), "{said}");
    cluster[0].move_to(here);
    cluster[0].restart();
    cluster.wait_ready(0);
}

/// Each node's own address changes in its turn, and a worker is found by a manager that it cannot find.
#[test]
fn the_only_manager_is_found_again_at_another_address() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    cluster[0].stop();
    cluster[0].move_to(Loopback::new().place(0));
    cluster[0].restart();
    cluster.wait_ready(0);
    let there = format!("its manager, {}", cluster[0].address());
    wait::until("the worker to name the address of now", || {
        let users = cluster[1].run(&["service", "ls"]);
        if users.stderr.trim_end().ends_with(&there) { Ok(()) } else { Err(users) }
    });
}

#[test]
fn a_worker_knows_the_managers_that_took_the_place_of_its_first() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    let mut next = newcomer();
    next.join(&cluster[0], "manager");
    cluster.push(next);
    cluster.wait_managers(2, 2);
    cluster[0].ok(&["leave"]);
    let address = cluster[2].address().to_string();
    for _ in 0..2 {
        wait::until("the worker to name the manager of now", || {
            let (users, info) = (cluster[1].run(&["service", "ls"]), cluster[1].run(&["info"]));
            let sent_there = users.stderr.trim_end().ends_with(&format!("its manager, {address}"));
            let shown = info.stdout.lines().any(|line| line.split_whitespace().eq(["Managers:", address.as_str()]));
            if sent_there && shown { Ok(()) } else { Err((users, info)) }
        });
        // Also where it has heard nothing since it started.
        if cluster[2].is_running() {
            cluster[2].stop();
            cluster[1].stop();
            cluster[1].restart();
        }
    }
}

#[test]
fn joining_twice_is_refused_and_changes_nothing() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    let token = token(&cluster[0], &[]);
    let said = cluster[1].refused(&["join", "--token", &token, &cluster[0].address().to_string()]);
    assert!(said.contains("already") && said.contains("muster leave"), "{said}");
    assert_eq!(nodes(&cluster[0]), 2);
}

#[test]
fn a_manager_without_a_majority_admits_nobody_and_nothing_is_left_of_the_join() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let host = newcomer();
    let (token, address) = (token(&cluster[0], &[]), cluster[0].address().to_string());
    cluster[1].kill();
    cluster[2].kill();
    is_refused(&host, &["join", "--token", &token, &address], &["no leader", "majority"]);
}

#[test]
fn roles_change_and_quorum_is_guarded() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 2);
    let ids: Vec<String> = cluster.nodes().iter().map(Daemon::node_id).collect();
    // The only manager.
    let said = cluster[0].refused(&["node", "demote", &ids[0]]);
    assert!(said.contains("muster node promote") || said.contains("only manager"), "{said}");
    cluster[0].ok(&["node", "promote", &ids[1], &ids[2]]);
    cluster.wait_managers(1, 3);
    cluster[2].ok(&["service", "create", "--detach", "--quiet", "--name", "a", "--replicas", "0", "sim:1"]);

    // One of three is away: to give up another would leave one of two.
    let leader = cluster.leader();
    let (away, other) = (cluster.after(leader), cluster.after(cluster.after(leader)));
    cluster[away].kill();
    wait::until("the manager to be seen as unreachable", || {
        let shown = cluster[leader].ok(&["node", "ls", "--format", "{{.ManagerStatus}}"]);
        if shown.contains("Unreachable") { Ok(()) } else { Err(shown) }
    });
    let said = cluster[leader].refused(&["node", "demote", &ids[other]]);
    assert!(said.contains("only 1 of 2 managers would be up"), "{said}");
    let said = cluster[other].refused(&["leave"]);
    assert!(said.contains("only 1 of 2 managers would be up"), "{said}");
    let (safe, forced) = (said.find("bring the others back up"), said.find("--force"));
    assert!(safe.is_some() && safe < forced, "{said}");
    // The one that is away can be given up.
    cluster[leader].ok(&["node", "demote", &ids[away]]);
    cluster[leader].ok(&["node", "rm", "--force", &ids[away]]);
    assert_eq!(nodes(&cluster[leader]), 2);
}

#[test]
fn the_leader_is_demoted_and_hands_over_first() {
    let cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let other = cluster.after(leader);
    cluster[leader].ok(&["node", "demote", &cluster[leader].node_id()]);
    cluster.wait_managers(other, 2);
    assert_ne!(cluster.leader_by(other), leader);
    cluster.wait_ready(other);
    cluster[other].ok(&["node", "promote", &cluster[leader].node_id()]);
    cluster.wait_managers(leader, 3);
}

/// It comes back as the manager that it was, and is another one by now.
#[test]
fn a_manager_that_was_demoted_and_promoted_while_it_was_off_comes_back_as_one() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let (off, id) = (cluster.after(leader), cluster[cluster.after(leader)].node_id());
    cluster[off].kill();
    wait::until("the manager to be seen as unreachable", || {
        let shown = cluster[leader].ok(&["node", "ls", "--format", "{{.ManagerStatus}}"]);
        if shown.contains("Unreachable") { Ok(()) } else { Err(shown) }
    });
    cluster[leader].ok(&["node", "demote", &id]);
    cluster[leader].ok(&["node", "promote", &id]);
    cluster[off].restart();
    cluster.wait_managers(leader, 3);
    cluster.wait_managers(off, 3);
}

#[test]
fn a_role_that_changes_faster_than_the_daemon_follows_is_taken_on() {
    let cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let third = cluster.after(cluster.after(leader));
    for number in [cluster.after(leader), leader] {
        let id = cluster[number].node_id();
        cluster[third].ok(&["node", "update", "--role", "worker", &id]);
        cluster[third].ok(&["node", "update", "--role", "manager", &id]);
        cluster.wait_managers(third, 3);
    }
}

/// A promotion that cannot be carried out is carried out once it can be, also by the next daemon.
#[test]
fn a_promotion_that_was_cut_short_is_finished() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 2);
    let in_the_way: Vec<_> = [1, 2].iter().map(|number| cluster[*number].data_dir().join("manager")).collect();
    for (number, path) in [1, 2].into_iter().zip(&in_the_way) {
        fs::write(path, "no folder").unwrap();
        cluster[0].ok(&["node", "promote", "--detach", &cluster[number].node_id()]);
        let record = cluster[number].data_dir().join("member/node.json");
        wait::until("the promotion to be written down", || {
            let record = fs::read_to_string(&record).unwrap();
            if record.contains("\"raft_id\": null") { Err(record) } else { Ok(()) }
        });
    }
    cluster[1].kill();
    in_the_way.iter().for_each(|path| fs::remove_file(path).unwrap());
    cluster[1].restart();
    cluster.wait_managers(0, 3);
}

/// The cluster knows it as a node already; it goes without leaving one behind.
#[test]
fn a_join_that_was_granted_and_could_not_start_is_taken_back() {
    let cluster = Cluster::of(MUSTER, 1);
    let host = newcomer();
    fs::write(host.data_dir().join("manager"), "no folder").unwrap();
    let token = cluster[0].ok(&["join-token", "--quiet", "manager"]);
    let address = cluster[0].address().to_string();
    let said = host.refused(&["join", "--token", &token, &address]);
    assert!(said.contains("is a node of the cluster now") && said.contains("muster leave"), "{said}");
    assert_eq!(nodes(&cluster[0]), 2);
    let said = host.refused(&["join", "--token", &token, &address]);
    assert!(said.contains("start its daemon again"), "{said}");
    fs::remove_file(host.data_dir().join("manager")).unwrap();
    host.ok(&["leave"]);
    assert_eq!(nodes(&cluster[0]), 1);
}

#[test]
fn the_last_but_one_manager_steps_back_and_leaves_at_once() {
    let cluster = Cluster::of(MUSTER, 2);
    let leader = cluster.leader();
    let other = cluster.after(leader);
    cluster[other].ok(&["node", "update", "--role", "worker", &cluster[other].node_id()]);
    cluster[other].ok(&["leave"]);
    assert_eq!(nodes(&cluster[leader]), 1);
}

/// It is what --force is for, and it says what it has done.
#[test]
fn a_manager_that_leaves_by_force_says_what_becomes_of_the_others() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let (away, other) = (cluster.after(leader), cluster.after(cluster.after(leader)));
    cluster[away].kill();
    let printed = cluster[other].run(&["leave", "--force"]);
    assert!(printed.status.success() && printed.stdout.contains("has left the cluster"), "{printed:#?}");
    assert!(printed.stderr.contains("only 1 of 2 managers would be up"), "{printed:#?}");
    assert!(printed.stderr.contains("muster recover"), "{printed:#?}");
}

#[test]
fn a_manager_leaves_and_joins_again() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let other = cluster.after(leader);
    let printed = cluster[leader].run(&["leave"]);
    assert!(printed.status.success(), "{printed:#?}");
    assert!(printed.stderr.contains("the cluster has 2 managers"), "an even number is pointed out: {printed:#?}");
    cluster.wait_managers(other, 2);
    let token = cluster[other].ok(&["join-token", "--quiet", "manager"]);
    let address = cluster[other].address().to_string();
    cluster[leader].ok(&["join", "--token", &token, &address]);
    cluster[leader].note_cluster();
    cluster.wait_managers(leader, 3);
}

#[test]
fn a_manager_that_removes_itself_is_told_that_it_is_done() {
    let cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let other = cluster.after(leader);
    let printed = cluster[other].run(&["node", "rm", "--force", "self"]);
    assert!(printed.status.success() && printed.stdout.trim() == "self", "{printed:#?}");
    assert!(printed.stderr.contains("muster leave --force"), "{printed:#?}");
    assert_eq!(nodes(&cluster[leader]), 2);
    wait::until("its daemon to say what became of it", || {
        let said = cluster[other].run(&["node", "ls"]);
        if said.stderr.contains("was removed from this cluster") { Ok(()) } else { Err((said, cluster[other].log())) }
    });
    cluster[other].ok(&["leave", "--force"]);
}

#[test]
fn a_removed_node_is_told_so_and_joins_anew() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    let removed = cluster[1].node_id();
    cluster[0].ok(&["node", "rm", "--force", &removed]);
    let told = |daemon: &Daemon| {
        wait::until("the removed node to know and to say so", || {
            let shown = daemon.run(&["info"]);
            let said = "was removed from this cluster; run `muster leave --force` there";
            if shown.stdout.contains(said) { Ok(()) } else { Err((shown, daemon.log())) }
        });
    };
    told(&cluster[1]);
    // Also after a restart it stays outside.
    cluster[1].stop();
    cluster[1].restart();
    told(&cluster[1]);
    assert_eq!(nodes(&cluster[0]), 1);
    cluster[1].ok(&["leave", "--force"]);
    let token = token(&cluster[0], &[]);
    let address = cluster[0].address().to_string();
    cluster[1].ok(&["join", "--token", &token, &address]);
    cluster[1].note_cluster();
    cluster.wait_ready(0);
    assert_ne!(cluster[1].node_id(), removed);
}

#[test]
fn nodes_that_come_back_with_another_address_are_found() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    let network = Loopback::new();
    let leader = cluster.leader();
    for number in [cluster.after(leader) % 3, 3] {
        cluster[number].stop();
        cluster[number].move_to(network.place(number));
        cluster[number].restart();
        let (id, address) = (cluster[number].node_id(), cluster[number].address().to_string());
        wait::until("the new address to be known", || {
            // It may lead for a moment before the others know where it is.
            let shown = cluster[leader].run(&["node", "ls", "--format", "{{.ID}} {{.Address}} {{.Status}}"]);
            if shown.stdout.contains(&format!("{id} {address} Ready")) { Ok(()) } else { Err(shown) }
        });
    }
    cluster.wait_managers(leader, 3);
}

#[test]
fn a_manager_with_an_empty_folder_does_not_vote_as_its_former_self() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let (wiped, other) = (cluster.after(leader), cluster.after(cluster.after(leader)));
    cluster[wiped].kill();
    fs::remove_dir_all(cluster[wiped].data_dir().join("manager")).unwrap();
    let said = cluster[wiped].refuses_to_start();
    assert!(said.contains("muster") && said.contains("missing"), "{said}");
    // The whole folder: a stranger, and no vote.
    empty(&cluster[wiped].data_dir());
    cluster[wiped].restart();
    assert!(cluster[wiped].ok(&["info"]).contains("muster init"));
    cluster[leader].kill();
    let said = cluster[other].refused(&["service", "create", "--detach", "--name", "a", "sim:1"]);
    assert!(said.contains("leader") || said.contains("majority"), "{said}");
    cluster[leader].restart();
    cluster[other].ok(&["service", "create", "--detach", "--quiet", "--name", "a", "--replicas", "0", "sim:1"]);
}

fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// From another host, with the address that the daemon finds by itself.
#[test]
fn a_host_finds_its_own_address() {
    let Some(()) = hosts::present("a_host_finds_its_own_address") else { return };
    let hosts = Hosts::make(2);
    let mut first = Daemon::start_at(MUSTER, Engine::Sim, Place::host(&hosts, 0));
    let mut second = Daemon::start_at(MUSTER, Engine::Sim, Place::host(&hosts, 1));
    first.init();
    second.join(&first, "worker");
    let shown = first.ok(&["node", "inspect", "--format", "{{.Status.Addr}}", &second.node_id()]);
    assert_eq!(shown, second.address().to_string());
}

/// What the node that is in the folder would show others.
fn identity(of: &Daemon) -> Keeper {
    let record = fs::read(of.data_dir().join("member/node.json")).expect("a member");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    let part = |name| record["identity"][name].as_str().expect("PEM").to_owned();
    let credentials = Credentials::from_pem(part("roots"), part("certificate"), part("key"));
    Keeper::new(credentials.expect("credentials")).expect("a keeper")
}

/// A worker has no copy of the state and hears from the managers whom it must not listen to any more.
#[test]
fn a_removed_node_is_no_ones_peer_any_more_at_workers_neither() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 2);
    cluster.wait_ready(0);
    let (keeper, removed) = (identity(&cluster[2]), cluster[2].node_id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ask = |worker: &Daemon| {
        let (address, node) = (worker.address().to_string(), worker.node_id().parse().expect("an id"));
        runtime.block_on(async {
            let channel = keeper.channel(&address, Expect::Node(node)).expect("an address");
            let mut client = DispatcherClient::new(channel);
            client.session(futures_util::stream::pending()).await.expect_err("a worker has no sessions").code()
        })
    };
    assert_eq!(ask(&cluster[1]), Code::FailedPrecondition, "as a member it is told where to go");
    cluster[0].ok(&["node", "rm", "--force", &removed]);
    wait::until("the worker to refuse the removed node", || match ask(&cluster[1]) {
        Code::PermissionDenied => Ok(()),
        other => Err(other),
    });
    cluster[1].stop();
    cluster[0].stop();
    cluster[1].restart();
    assert_eq!(ask(&cluster[1]), Code::PermissionDenied, "also where nobody has told it since it started");
}
