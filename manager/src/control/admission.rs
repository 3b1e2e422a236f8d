//! What this host is asked before a spec goes to the log: whether its ports could be opened, and what its image's tag
//! means now.

use std::time::Duration;

use muster_proto::{
    endpoint::PublishMode,
    parse,
    pin::{ImagePin, Unresolved},
    service::{Service, ServiceSpec},
    v1, validate,
};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Status;

use crate::{preflight::Preflight, status};

/// A registry that cannot be reached must not hold up a service whose image every node has.
const RESOLVE_MAX: Duration = Duration::from_secs(20);

/// Whether an image whose text stays the same is resolved anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolve {
    IfChanged,
    Always,
}

#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) spec: ServiceSpec,
    /// For the user, a sentence each.
    pub(super) warnings: Vec<String>,
}

/// The wire's spec in the domain, where it makes sense.
pub(super) fn read_spec(wire: Option<v1::ServiceSpec>) -> Result<ServiceSpec, Status> {
    let mut wire = wire.ok_or_else(|| Status::invalid_argument("the request has no spec; send one"))?;
    // Only a manager pins: one that a client sent is not looked at.
    if let Some(container) = wire.task.as_mut().and_then(|task| task.container.as_mut()) {
        container.pin = None;
    }
    let bytes = wire.encoded_len();
    let spec = ServiceSpec::try_from(wire).map_err(|error| status::malformed(&error))?;
    validate::received_spec(&spec, bytes).map_err(|error| status::malformed(&error))?;
    Ok(spec)
}

/// `current` is the service that is updated.
pub(super) async fn admit(
    preflight: &dyn Preflight,
    mut spec: ServiceSpec,
    current: Option<&Service>,
    resolve: Resolve,
) -> Result<Admitted, Status> {
    check_ports(preflight, &spec, current).await?;
    let mut warnings = Vec::new();
    let container = &mut spec.task.container;
    let kept = current.map(|service| &service.spec.task.container).filter(|kept| kept.image == container.image);
    match (kept, resolve) {
        (Some(kept), Resolve::IfChanged) => container.pin = kept.pin.clone(),
        (Some(kept), Resolve::Always) => {
            container.pin = pin_anew(preflight, &container.image, kept.pin.clone(), &mut warnings).await;
        }
        (None, Resolve::IfChanged | Resolve::Always) => {
            container.pin = pin(preflight, &container.image, &mut warnings).await;
        }
    }
    Ok(Admitted { spec, warnings })
}

/// Ports that the service has already are its own, and those that the allocator will choose are not known yet.
async fn check_ports(preflight: &dyn Preflight, spec: &ServiceSpec, current: Option<&Service>) -> Result<(), Status> {
    let held = |port: u16| {
        current.is_some_and(|service| {
            service.ports.iter().any(|own| own.mode == PublishMode::Ingress && own.published == port)
        })
    };
    for port in spec.endpoint.ingress_ports().map(|port| port.published).filter(|port| *port != 0 && !held(*port)) {
        preflight.check_ingress_port(port).await.map_err(Status::failed_precondition)?;
    }
    Ok(())
}

async fn pin(preflight: &dyn Preflight, image: &str, warnings: &mut Vec<String>) -> Option<ImagePin> {
    warn_unpinned(image, warnings);
    match resolve_in_time(preflight, image).await {
        Ok(pin) => Some(pin),
        Err(why) => {
            warnings.push(unresolved(image, &why));
            None
        }
    }
}

/// What runs already goes on running when nobody can say what the tag means now.
async fn pin_anew(
    preflight: &dyn Preflight,
    image: &str,
    kept: Option<ImagePin>,
    warnings: &mut Vec<String>,
) -> Option<ImagePin> {
    let Some(kept) = kept else { return pin(preflight, image, warnings).await };
    warn_unpinned(image, warnings);
    match resolve_in_time(preflight, image).await {
        Ok(pin) => Some(pin),
        Err(why) => {
            warnings.push(unresolved_anew(image, &kept, &why));
            Some(kept)
        }
    }
}

/// Refusing would be wrong: other nodes may hold what this host does not.
fn unresolved(image: &str, why: &Unresolved) -> String {
    match why {
        Unresolved::Missing(said) => format!(
            "image {image} is not on this host, and its registry does not have it ({said}); a task of it starts only on \
             a node that holds it already, so check the name, push the image, or load it on the nodes"
        ),
        Unresolved::Denied(said) => format!(
            "image {image} is not on this host, and its registry gives it to nobody without a login ({said}); a task of \
             it starts only on a node that holds it already, so check the name, or load the image on the nodes"
        ),
        Unresolved::Unreachable(said) => format!(
            "image {image} is not on this host, and its registry cannot be reached ({said}); each node runs what the \
             name means there when a task starts, so check the name, and see that the nodes reach the registry or hold \
             the same image"
        ),
        Unresolved::Unknown(said) => format!(
            "image {image} could not be resolved to a digest ({said}); each node runs what the name means there when a \
             task starts, so see that it is the same everywhere"
        ),
    }
}

fn unresolved_anew(image: &str, kept: &ImagePin, why: &Unresolved) -> String {
    let (what, said, next) = match why {
        Unresolved::Missing(said) => {
            ("its registry does not have it any more", said, "push it again, or name another with --image")
        }
        Unresolved::Denied(said) => (
            "its registry gives it to nobody without a login",
            said,
            "have it given out without one, or name another with --image",
        ),
        Unresolved::Unreachable(said) => {
            ("its registry cannot be reached", said, "run the update again once the registry answers")
        }
        Unresolved::Unknown(said) => {
            ("it could not be resolved anew", said, "run the update again once that is mended")
        }
    };
    format!("image {image} stays pinned to {kept}: {what} ({said}); {next}")
}

fn warn_unpinned(image: &str, warnings: &mut Vec<String>) {
    if parse::image(image).is_ok_and(|reference| reference.is_unpinned()) {
        warnings.push(format!(
            "image {image} names no version, so that nobody can tell what an update changes; name one, like {}:1.0.0",
            image.strip_suffix(":latest").unwrap_or(image)
        ));
    }
}

async fn resolve_in_time(preflight: &dyn Preflight, image: &str) -> Result<ImagePin, Unresolved> {
    let answer = timeout(RESOLVE_MAX, preflight.resolve_image(image)).await;
    answer.unwrap_or_else(|_elapsed| Err(Unresolved::Unknown(format!("no answer in {} s", RESOLVE_MAX.as_secs()))))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    #[derive(Debug)]
    struct Unreachable;

    #[async_trait]
    impl Preflight for Unreachable {
        async fn resolve_image(&self, _image: &str) -> Result<ImagePin, Unresolved> {
            std::future::pending().await
        }

        async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_never_answers_is_waited_for_only_so_long() {
        let mut warnings = Vec::new();
        assert_eq!(pin(&Unreachable, "app:1", &mut warnings).await, None);
        assert!(warnings.len() == 1 && warnings[0].contains("no answer in 20 s"), "{warnings:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_outlives_a_registry_that_does_not_answer() {
        let mut warnings = Vec::new();
        let kept = Some(ImagePin::LocalId("sha256:ab".to_owned()));
        assert_eq!(pin_anew(&Unreachable, "app:1", kept.clone(), &mut warnings).await, kept);
        assert!(warnings.len() == 1 && warnings[0].contains("stays pinned to"), "{warnings:?}");
        assert_eq!(pin_anew(&Unreachable, "app:1", None, &mut warnings).await, None, "there was nothing to keep");
    }

    #[test]
    fn each_reason_has_its_sentence_and_its_next_step() {
        let kept = ImagePin::Digest("sha256:ab".to_owned());
        let reasons = [
            Unresolved::Missing("manifest unknown".to_owned()),
            Unresolved::Denied("unauthorized".to_owned()),
            Unresolved::Unreachable("connection refused".to_owned()),
            Unresolved::Unknown("engine unavailable: no socket".to_owned()),
        ];
        let first = reasons.iter().map(|why| unresolved("app:1", why));
        let said: Vec<String> = first.chain(reasons.iter().map(|why| unresolved_anew("app:1", &kept, why))).collect();
        expect_test::expect![[r#"
            image app:1 is not on this host, and its registry does not have it (manifest unknown); a task of it starts only on a node that holds it already, so check the name, push the image, or load it on the nodes
            image app:1 is not on this host, and its registry gives it to nobody without a login (unauthorized); a task of it starts only on a node that holds it already, so check the name, or load the image on the nodes
            image app:1 is not on this host, and its registry cannot be reached (connection refused); each node runs what the name means there when a task starts, so check the name, and see that the nodes reach the registry or hold the same image
            image app:1 could not be resolved to a digest (engine unavailable: no socket); each node runs what the name means there when a task starts, so see that it is the same everywhere
            image app:1 stays pinned to sha256:ab: its registry does not have it any more (manifest unknown); push it again, or name another with --image
            image app:1 stays pinned to sha256:ab: its registry gives it to nobody without a login (unauthorized); have it given out without one, or name another with --image
            image app:1 stays pinned to sha256:ab: its registry cannot be reached (connection refused); run the update again once the registry answers
            image app:1 stays pinned to sha256:ab: it could not be resolved anew (engine unavailable: no socket); run the update again once that is mended"#]]
        .assert_eq(&said.join("\n"));
    }
}
