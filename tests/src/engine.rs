//! Docker Engine for tests: whether it is there, images of the demo app, containers by label.

use std::{collections::HashMap, env, path::Path};

use bollard::{
    Docker,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptions, RemoveImageOptions},
};
use muster_cli::demo::image;

pub const SOCKET: &str = "/var/run/docker.sock";

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

async fn docker() -> Docker {
    image::connect(Path::new(SOCKET)).expect("a client for the engine")
}

/// None, said aloud, where there is no engine; with `CI=true` that is a failure.
#[must_use]
pub fn present(test: &str) -> Option<()> {
    let answer = block_on(async { docker().await.ping().await });
    match answer {
        Ok(_) => Some(()),
        Err(error) if env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{test} needs Docker Engine: {error}"),
        Err(error) => {
            eprintln!("skipped {test}: Docker Engine does not answer at {SOCKET} ({error})");
            None
        }
    }
}

/// Images of the demo app under a name of their own; removed on drop.
#[derive(Debug)]
pub struct Images {
    repository: String,
    versions: Vec<&'static str>,
}

impl Images {
    #[must_use]
    pub fn make(versions: &[&'static str]) -> Self {
        let images =
            Self { repository: format!("muster-test-{:08x}", rand::random::<u32>()), versions: versions.to_vec() };
        block_on(async {
            let docker = docker().await;
            for version in versions {
                image::build(&docker, &images.name(version)).await.expect("an image of the demo app");
            }
        });
        images
    }

    #[must_use]
    pub fn name(&self, version: &str) -> String {
        format!("{}:{version}", self.repository)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        block_on(async {
            let docker = docker().await;
            for version in &self.versions {
                let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
                // Best effort: a test may have removed it itself.
                drop(docker.remove_image(&self.name(version), Some(options), None).await);
            }
        });
    }
}

/// A container as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// `running`, `exited`, `created`.
    pub state: String,
    /// `sha256:…` of the image's configuration.
    pub image_id: String,
    pub task: String,
}

/// All containers of a cluster, in any state.
#[must_use]
pub fn containers(cluster: &str) -> Vec<Container> {
    block_on(async {
        let filters = HashMap::from([("label".to_owned(), vec![format!("muster.cluster={cluster}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = docker().await.list_containers(Some(options)).await.expect("the engine lists containers");
        found
            .into_iter()
            .map(|container| Container {
                id: container.id.unwrap_or_default(),
                name: container.names.unwrap_or_default().concat().trim_start_matches('/').to_owned(),
                state: container.state.map(|state| state.to_string()).unwrap_or_default(),
                image_id: container.image_id.unwrap_or_default(),
                task: container.labels.unwrap_or_default().remove("muster.task").unwrap_or_default(),
            })
            .collect()
    })
}

/// What the engine knows of one container.
#[must_use]
pub fn inspect(id: &str) -> serde_json::Value {
    block_on(async {
        let found = docker().await.inspect_container(id, None).await.expect("the engine inspects a container");
        serde_json::to_value(found).expect("an inspected container is JSON")
    })
}

pub(crate) fn remove_containers(cluster: &str) {
    for container in containers(cluster) {
        block_on(async {
            let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
            // Best effort, on the way out of a test that may have failed.
            drop(docker().await.remove_container(&container.id, Some(options)).await);
        });
    }
}

/// `sha256:…` of an image's configuration; None where the engine has no such image.
#[must_use]
pub fn image_id(name: &str) -> Option<String> {
    block_on(async { docker().await.inspect_image(name).await.ok().and_then(|image| image.id) })
}
