//! Commands that change something and do not wait.

use expect_test::{Expect, expect};

use muster_proto::v1;

use super::super::{
    fake::{World, run},
    objects::id,
};
use super::{check, shown, world};

#[test]
fn create_prints_the_id_alone_on_stdout() {
    let ran = check(
        "service create --detach --name shop --replicas 2 shop:1 --verbose",
        expect![[r#"
        sshop00000000000000000000
        stderr: warning: the image has no tag
        exit code 0
    "#]],
    );
    let created = &ran.world.created[0];
    assert_eq!(created.task.as_ref().unwrap().container.as_ref().unwrap().args, ["--verbose"]);
}

#[test]
fn a_change_made_meanwhile_is_read_and_made_again() {
    let ran = run(World { aborts_left: 2, ..world() }, "service update -d --env-add A=1 --env-rm B web");
    expect![[r#"
        web
        stderr: warning: --env-rm B: there is none such, nothing is removed
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let update = &ran.world.updated[0];
    assert_eq!((update.version, update.resolve_image), (10, false));
    assert_eq!(update.spec.as_ref().unwrap().task.as_ref().unwrap().container.as_ref().unwrap().env, ["A=1"]);

    let ran = run(World { aborts_left: 1_000, ..world() }, "service update -d --image myapp:2 web");
    expect![[r#"
        stderr: muster: the service has changed since it was read; read it again
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn an_image_named_again_is_resolved_again() {
    let ran = run(world(), "service update -d --image myapp:1.0.0 web");
    assert!(ran.world.updated[0].resolve_image);
}

#[test]
fn a_rollout_is_paused_resumed_and_promoted() {
    let ran = run(World { aborts_left: 2, ..world() }, "service pause web");
    assert_eq!(shown(&ran), "web\nexit code 0\n");
    let ran = run(World { aborts_left: 2, ..world() }, "service resume --detach web");
    assert_eq!(shown(&ran), "web\nexit code 0\n");
    check(
        "service promote web",
        expect![[r#"
        stderr: muster: service web has no canary to promote; begin an update with one
        exit code 1
    "#]],
    );
    check(
        "service pause nothing",
        expect![[r#"
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
}

#[test]
fn each_service_has_its_turn() {
    let ran = check(
        "service scale -d web=5 agent=2 nothing=1",
        expect![[r#"
        web scaled to 5
        stderr: muster: service agent is global: it has one task on each node and no number of replicas; leave it out
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
    assert_eq!(ran.world.updated.len(), 1);
    let ran = check(
        "service rm nothing web",
        expect![[r#"
        web
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
    assert_eq!(ran.world.removed, [id("sweb")]);
    check(
        "service scale -d web=1 web=2",
        expect![[r#"
        stderr: muster: web is named twice; give it one number of replicas
        exit code 2
    "#]],
    );
    check(
        "service rollback web",
        expect![[r#"
        stderr: muster: service web has no previous spec to roll back to: it was never updated; change it with `muster service update web`
        exit code 1
    "#]],
    );
}

#[test]
fn a_node_keeps_what_is_not_named() {
    let ran = check(
        "node update --label-add disk=ssd --label-add zone=b --label-rm rack self",
        expect![[r#"
        self
        stderr: warning: --label-rm rack: there is none such, nothing is removed
        exit code 0
    "#]],
    );
    let labels = [("disk", "ssd"), ("zone", "b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let asked = |availability: v1::Availability, labels: &[(String, String)]| v1::UpdateNodeRequest {
        node: id("n1"),
        version: 3,
        availability: availability.into(),
        labels: labels.iter().cloned().collect(),
        role: v1::Role::Unspecified.into(),
    };
    assert_eq!(ran.world.nodes_updated, [asked(v1::Availability::Active, &labels)]);

    let ran = run(World { aborts_left: 2, ..world() }, "node update --availability DRAIN --label-rm zone self");
    assert_eq!(shown(&ran), "self\nexit code 0\n");
    assert_eq!(ran.world.nodes_updated, [asked(v1::Availability::Drain, &[])]);

    let ran = run(World { aborts_left: 1_000, ..world() }, "node update --availability pause self");
    expect![[r#"
        stderr: muster: the node has changed since it was read; read it again
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn what_cannot_be_asked_of_a_node() {
    let refused = |line: &str, expected: Expect| assert!(check(line, expected).world.nodes_updated.is_empty());
    refused(
        "node update self",
        expect![[r#"
            stderr: muster: nothing to change is named; give --availability, --role, --label-add or --label-rm
            exit code 2
        "#]],
    );
    refused(
        "node update --label-add zone=b --label-rm zone self",
        expect![[r#"
        stderr: muster: --label-add and --label-rm both name zone; keep the one you mean (adding replaces what is there)
        exit code 2
    "#]],
    );
    refused(
        "node update --label-add =b self",
        expect![[r#"
        stderr: error: invalid value '=b' for '--label-add <KEY=VALUE>': invalid label "=b": its name is empty; write it like key=value or key
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    refused(
        &format!("node update --label-add {}=b self", "k".repeat(256)),
        expect![[r#"
        stderr: muster: a node label cannot be called "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"…; use 1 to 255 characters without spaces
        exit code 2
    "#]],
    );
    refused(
        "node update --availability asleep self",
        expect![[r#"
        stderr: error: invalid value 'asleep' for '--availability <AVAILABILITY>': invalid availability "asleep": there is no such availability; write one of active, pause and drain
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    refused(
        "node update --availability pause --availability drain self",
        expect![[r#"
        stderr: error: the argument '--availability <AVAILABILITY>' cannot be used multiple times
        stderr: 
        stderr: Usage: muster node update [OPTIONS] <NODE>
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    refused(
        "node update --availability pause nobody",
        expect![[r#"
        stderr: muster: no node nobody; `muster node ls` lists them
        exit code 1
    "#]],
    );
    refused(
        "node update --availability pause",
        expect![[r#"
        stderr: error: the following required arguments were not provided:
        stderr:   <NODE>
        stderr: 
        stderr: Usage: muster node update --availability <AVAILABILITY> <NODE>
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
}
