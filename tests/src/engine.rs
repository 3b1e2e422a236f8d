//! Docker Engine for tests: whether it is there, images of the demo app, containers by label.

use std::{collections::HashMap, env, path::Path};

use bollard::{
    Docker,
    query_parameters::{
        ListContainersOptionsBuilder, ListImagesOptionsBuilder, PushImageOptionsBuilder, RemoveContainerOptions,
        RemoveImageOptions, TagImageOptionsBuilder,
    },
};
use futures_util::TryStreamExt;
use muster_cli::demo::image;

use crate::registry::Pushed;

pub const SOCKET: &str = "/var/run/docker.sock";
/// Every name of the image at once.
const FORCED: Option<RemoveImageOptions> = Some(RemoveImageOptions { force: true, noprune: false, platforms: None });

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// What this machine's engine lays images out with; others on this machine can do the same.
pub(crate) fn storage_driver() -> String {
    let found = block_on(async { docker().await.info().await }).ok().and_then(|info| info.driver);
    found.unwrap_or_else(|| "vfs".to_owned())
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

    /// So that whoever needs it has to get it from elsewhere.
    pub fn remove(&self, version: &str) {
        let removed = block_on(async { docker().await.remove_image(&self.name(version), FORCED, None).await });
        removed.expect("the engine removes an image");
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        block_on(async {
            let docker = docker().await;
            for version in &self.versions {
                // Best effort: a test may have removed it itself.
                drop(docker.remove_image(&self.name(version), FORCED, None).await);
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
    find(id).expect("the engine inspects a container")
}

/// As [`inspect`], of one that may be gone.
#[must_use]
pub fn find(id: &str) -> Option<serde_json::Value> {
    block_on(async {
        let found = docker().await.inspect_container(id, None).await.ok()?;
        Some(serde_json::to_value(found).expect("an inspected container is JSON"))
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

/// Pushes an image of this host as `repository:tag`; afterwards this host does not know it by that name.
pub(crate) fn push(image: &str, repository: &str, tag: &str) -> Pushed {
    block_on(async {
        let docker = docker().await;
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        docker.tag_image(image, Some(options)).await.expect("the engine tags an image");
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let steps = docker.push_image(repository, Some(options), None).try_collect::<Vec<_>>().await;
        steps.expect("the registry takes the image");
        let found = docker.inspect_image(&format!("{repository}:{tag}")).await.expect("the image that was pushed");
        let known = found.repo_digests.unwrap_or_default();
        let digest = known.iter().find_map(|name| name.strip_prefix(repository)?.strip_prefix('@'));
        let digest = digest.expect("a pushed image has a digest").to_owned();
        let untagged = docker.remove_image(&format!("{repository}:{tag}"), None::<RemoveImageOptions>, None).await;
        untagged.expect("the engine takes the tag off");
        Pushed { id: found.id.expect("an image has an id"), digest }
    })
}

/// Removes all images of a name, whatever their tags and digests.
pub(crate) fn remove_repository(repository: &str) {
    block_on(async {
        let docker = docker().await;
        let filters = HashMap::from([("reference".to_owned(), vec![repository.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in docker.list_images(Some(options)).await.unwrap_or_default() {
            // Best effort, on the way out of a test that may have failed.
            drop(docker.remove_image(&image.id, FORCED, None).await);
        }
    });
}
