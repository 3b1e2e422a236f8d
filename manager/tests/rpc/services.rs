//! What users do with services.

use expect_test::expect;
use muster_proto::{service::Mode, v1};
use tonic::Status;

use crate::{
    agent::Agent,
    bench::{Bench, ONE, TWO, is_running, publish, replicated, soon},
};

const MOVED: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

#[tokio::test]
async fn a_service_runs_and_goes_again() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    let created = bench.create(&publish(replicated("web", "app:1", 2), 8_000)).await.expect("created");
    assert_eq!(created.warnings, Vec::<String>::new());

    agent.hear_until("two tasks", |agent| agent.assigned.len() == 2).await;
    for task in agent.assigned.values() {
        let container = task.spec.as_ref().and_then(|spec| spec.container.as_ref()).expect("a container");
        assert_eq!(container.pin.as_ref().and_then(|pin| pin.pin.clone()), Some(digest(ONE)));
        assert_eq!(task.limits.as_ref().map(|limits| limits.memory_bytes), Some(1 << 30), "the cluster's default");
    }
    agent.obey().await;
    let running =
        bench.watch_until("web", "two running", |now| now.tasks.iter().filter(|t| is_running(t)).count() == 2);
    assert!(running.await.service.is_some());
    let all = soon("list", bench.control.list_services(v1::ListServicesRequest {})).await.expect("listed").into_inner();
    assert_eq!(all.services.iter().map(|s| (s.running, s.desired)).collect::<Vec<_>>(), [(2, 2)]);
    let two_backends = |agent: &Agent| agent.ingress.values().any(|service| service.backends.len() == 2);
    agent.hear_until("both behind the port", two_backends).await;

    bench.remove("web").await.expect("removed");
    let told_to_remove = |agent: &Agent| agent.assigned.values().all(|task| task.desired() == v1::DesiredState::Remove);
    agent.hear_until("removal", told_to_remove).await;
    assert!(!agent.ingress.values().any(|service| !service.backends.is_empty()), "out of the ingress by then");
    agent.obey().await;
    agent.hear_until("both forgotten", |agent| agent.forgotten.len() == 2 && agent.assigned.is_empty()).await;
    let gone = bench.service("web").await.expect_err("it is gone");
    assert_eq!(gone.code(), tonic::Code::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn a_watch_ends_when_nothing_is_left() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    agent.obey_until("running", |agent| agent.assigned.len() == 1).await;

    let request = v1::GetServiceRequest { service: "web".to_owned() };
    let mut answers = soon("watch", bench.control.watch_service(request)).await.expect("watched").into_inner();
    let first = soon("an answer", answers.message()).await.expect("no error").expect("an answer");
    assert!(first.service.is_some());
    bench.remove("web").await.expect("removed");
    agent.hear_until("removal", |a| a.assigned.values().all(|t| t.desired() == v1::DesiredState::Remove)).await;
    agent.obey().await;
    let mut last = first;
    while let Some(answer) = soon("the end", answers.message()).await.expect("no error") {
        assert_ne!(answer, last, "nothing is said twice");
        last = answer;
    }
    assert_eq!(last, v1::WatchServiceResponse::default());
    bench.stop().await;
}

#[tokio::test]
async fn an_image_is_pinned_once_by_the_manager_alone() {
    let mut bench = Bench::start().await;
    let mut spec = replicated("web", "app:1", 1);
    spec.task.container.pin = Some(muster_proto::pin::ImagePin::Digest("sha256:mine".to_owned()));
    bench.create(&spec).await.expect("created");
    assert_eq!(pin(&bench.service("web").await.expect("there")), Some(digest(ONE)));

    bench.host.push("app:1", MOVED);
    spec.mode = Mode::Replicated { replicas: 2 };
    bench.update(&spec, false).await.expect("scaled");
    assert_eq!(pin(&bench.service("web").await.expect("there")), Some(digest(ONE)), "the tag moved, not we");

    bench.update(&spec, true).await.expect("resolved anew");
    assert_eq!(pin(&bench.service("web").await.expect("there")), Some(digest(MOVED)));

    spec.task.container.image = "app:2".to_owned();
    bench.update(&spec, false).await.expect("updated");
    assert_eq!(pin(&bench.service("web").await.expect("there")), Some(digest(TWO)));
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_pinned_is_accepted_with_a_warning() {
    let mut bench = Bench::start().await;
    let created = bench.create(&replicated("web", "nowhere", 1)).await.expect("created");
    expect![[r#"
        image nowhere names no version, so that nobody can tell what an update changes; name one, like nowhere:1.0.0
        image nowhere is not on this host, and its registry does not have it (manifest unknown); a task of it starts only on a node that holds it already, so check the name, push the image, or load it on the nodes"#]]
    .assert_eq(&created.warnings.join("\n"));
    assert_eq!(pin(&bench.service("web").await.expect("there")), None);
    bench.stop().await;
}

#[tokio::test]
async fn a_port_that_the_service_holds_itself_is_no_obstacle() {
    let mut bench = Bench::start().await;
    bench.create(&publish(replicated("web", "app:1", 1), 8_000)).await.expect("created");
    bench.host.hold(8_000);
    bench.host.hold(8_001);
    bench.update(&publish(replicated("web", "app:1", 2), 8_000), false).await.expect("its own port");
    let refused = bench.update(&publish(replicated("web", "app:1", 2), 8_001), false).await.expect_err("another's");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    bench.stop().await;
}

#[tokio::test]
async fn a_rollback_brings_the_previous_spec_back() {
    let mut bench = Bench::start().await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    bench.update(&replicated("web", "app:2", 1), false).await.expect("updated");
    let v1::Service { id, version, .. } = bench.service("web").await.expect("there");
    let request = v1::RollbackServiceRequest { id, version };
    soon("rollback", bench.control.rollback_service(request)).await.expect("rolled back");
    assert_eq!(pin(&bench.service("web").await.expect("there")), Some(digest(ONE)));
    bench.stop().await;
}

#[tokio::test]
async fn refusals_say_what_happened_and_what_to_do() {
    let mut bench = Bench::start().await;
    bench.create(&publish(replicated("web", "app:1", 1), 8_000)).await.expect("created");
    let web = bench.service("web").await.expect("there");

    bench.host.hold(9_999);
    let renamed = v1::ServiceSpec { name: "other".to_owned(), ..web.spec.clone().expect("a spec") };
    let stale =
        v1::UpdateServiceRequest { id: web.id.clone(), version: 1, spec: web.spec.clone(), resolve_image: false };
    let rename = v1::UpdateServiceRequest { version: web.version, spec: Some(renamed), ..stale.clone() };
    let rollback = v1::RollbackServiceRequest { id: web.id.clone(), version: web.version };
    let mut bad = replicated("bad name", "app:1", 1);
    let refusals = [
        bench.create(&replicated("web", "app:1", 1)).await.map(|_| ()),
        bench.create(&publish(replicated("two", "app:1", 1), 8_000)).await.map(|_| ()),
        bench.create(&publish(replicated("two", "app:1", 1), 9_999)).await.map(|_| ()),
        bench.create(&bad).await.map(|_| ()),
        bench.control.create_service(v1::CreateServiceRequest { spec: None }).await.map(|_| ()),
        bench.service("nope").await.map(|_| ()),
        bench.remove("").await,
        bench.control.update_service(stale).await.map(|_| ()),
        bench.control.update_service(rename).await.map(|_| ()),
        bench.control.rollback_service(rollback).await.map(|_| ()),
        bench.control.get_node(v1::GetNodeRequest { node: "nope".to_owned() }).await.map(|_| ()),
    ];
    bad.name = "ok".to_owned();
    bench.create(&bad).await.expect("a refusal leaves nothing behind");
    let said: Vec<String> = refusals.into_iter().map(|refused| said(&refused.expect_err("refused"), &web)).collect();
    expect![[r#"
        AlreadyExists: a service named web exists already (id ID); choose another name, or change it with `muster service update web`
        FailedPrecondition: port 8000 is published by service web already; choose another port or remove it there
        FailedPrecondition: port 9999 is in use on this host by another process; stop it or take another
        InvalidArgument: a service cannot be called "bad name"; use up to 63 letters, digits, - and _, with a letter or digit at each end
        InvalidArgument: the request has no spec; send one
        NotFound: no service "nope"; `muster service ls` lists them
        InvalidArgument: no service was named; `muster service ls` lists them
        Aborted: the service has changed since it was read (version 1, now VERSION); read it again and repeat the change
        InvalidArgument: a service cannot be renamed (it is web); remove it and create it anew
        FailedPrecondition: service web has no previous spec to roll back to: it was never updated since it was created or rolled back; change it with `muster service update web` and the flags that you want
        NotFound: no node "nope"; `muster node ls` lists them"#]].assert_eq(&said.join("\n"));
    bench.stop().await;
}

/// Without what differs from run to run.
fn said(status: &Status, web: &v1::Service) -> String {
    let text = status.message().replace(&web.id, "ID");
    format!("{:?}: {}", status.code(), text.replace(&format!("now {}", web.version), "now VERSION"))
}

fn pin(service: &v1::Service) -> Option<v1::image_pin::Pin> {
    let container = service.spec.as_ref()?.task.as_ref()?.container.as_ref()?;
    container.pin.as_ref()?.pin.clone()
}

fn digest(text: &str) -> v1::image_pin::Pin {
    v1::image_pin::Pin::Digest(text.to_owned())
}
