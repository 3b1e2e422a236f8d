//! Commands that change something and do not wait.

use expect_test::expect;

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
        stderr: warning: --env-rm B: the service has none such, nothing is removed
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
        stderr: muster: service web has no previous spec to roll back to; it was never updated
        exit code 1
    "#]],
    );
}
