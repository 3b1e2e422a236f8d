//! Images: what a tag means now, and having the right one on this host before a container is created of it.
//!
//! Registries are asked without credentials.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker as Client,
    models::{CreateImageInfo, ImageInspect},
    query_parameters::CreateImageOptions,
};
use futures_util::StreamExt;
use muster_proto::{
    container::ContainerSpec,
    pin::{ImagePin, Unresolved},
};
use tokio::time::timeout;

use super::{failure, reference::Reference};
use crate::executor::{ExecutorError, Result};

/// A registry that takes longer to name a digest is treated as out of reach: a person waits for the answer.
const REGISTRY_ANSWER_MAX: Duration = Duration::from_secs(5);

/// Hears what happens, in a few words.
pub(super) type Progress<'a> = &'a (dyn Fn(String) + Send + Sync);

/// An image that is on this host.
#[derive(Debug)]
pub(super) struct Local {
    /// What to create a container of: it means this image whatever is tagged later.
    pub(super) name: String,
    pub(super) inspected: ImageInspect,
}

pub(super) async fn resolve(client: &Client, image: &str) -> std::result::Result<ImagePin, Unresolved> {
    let reference = Reference::parse(image);
    if let Some(digest) = reference.digest {
        return Ok(ImagePin::Digest(digest.to_owned()));
    }
    let held = inspect(client, image).await.map_err(|error| Unresolved::Unknown(error.to_string()))?;
    let known = match held {
        None => None,
        Some(found) => {
            let digests = found.repo_digests.unwrap_or_default();
            match (reference.digest_among(&digests), found.id) {
                (Some(digest), _) => Some(digest.to_owned()),
                // Made or loaded here: no registry can know better.
                (None, Some(id)) => return Ok(ImagePin::LocalId(id)),
                (None, None) => None,
            }
        }
    };
    match (ask_registry(client, &reference).await, known) {
        (Ok(digest), _) => Ok(ImagePin::Digest(digest)),
        (Err(why), Some(digest)) => {
            tracing::info!(image, ?why, "the registry gave no digest, using the one known on this host");
            Ok(ImagePin::Digest(digest))
        }
        (Err(why), None) => Err(why),
    }
}

async fn ask_registry(client: &Client, reference: &Reference<'_>) -> std::result::Result<String, Unresolved> {
    match timeout(REGISTRY_ANSWER_MAX, client.inspect_registry_image(&reference.tagged(), None)).await {
        Err(_) => Err(Unresolved::Unreachable(format!("no answer in {} s", REGISTRY_ANSWER_MAX.as_secs()))),
        Ok(Err(error)) => Err(failure::of_registry(reference.name, error)),
        Ok(Ok(found)) => found.descriptor.digest.ok_or_else(|| Unresolved::Unknown("it named no digest".to_owned())),
    }
}

async fn inspect(client: &Client, image: &str) -> Result<Option<ImageInspect>> {
    match client.inspect_image(image).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if failure::is_not_found(&error) => Ok(None),
        Err(error) => Err(failure::of_engine(error)),
    }
}

pub(super) async fn is_here(client: &Client, spec: &ContainerSpec) -> Result<bool> {
    let reference = Reference::parse(&spec.image);
    let name = match &spec.pin {
        Some(ImagePin::LocalId(id)) => id.clone(),
        Some(ImagePin::Digest(digest)) => reference.at(digest),
        None => reference.tagged(),
    };
    inspect(client, &name).await.map(|found| found.is_some())
}

/// The image that the spec is pinned to, pulled where that is needed and possible.
pub(super) async fn ensure(client: &Client, spec: &ContainerSpec, progress: Progress<'_>) -> Result<Local> {
    let reference = Reference::parse(&spec.image);
    match &spec.pin {
        Some(ImagePin::LocalId(id)) => {
            let inspected = inspect(client, id).await?.ok_or_else(|| {
                ExecutorError::Refused(format!(
                    "image {} is known only by its local id {id} and is not on this node; push it to a registry or \
                     load it on this node",
                    spec.image
                ))
            })?;
            Ok(Local { name: id.clone(), inspected })
        }
        Some(ImagePin::Digest(digest)) => {
            present_or_pulled(client, &spec.image, reference.at(digest), (reference.name, digest), progress).await
        }
        None => {
            let source = (reference.name, reference.digest.unwrap_or(reference.tag_or_default()));
            present_or_pulled(client, &spec.image, reference.tagged(), source, progress).await
        }
    }
}

async fn present_or_pulled(
    client: &Client,
    shown: &str,
    name: String,
    source: (&str, &str),
    progress: Progress<'_>,
) -> Result<Local> {
    if let Some(inspected) = inspect(client, &name).await? {
        return Ok(Local { name, inspected });
    }
    pull(client, shown, source, progress).await?;
    let inspected = inspect(client, &name).await?.ok_or_else(|| {
        ExecutorError::Failed(format!("image {shown} was removed right after it was pulled; keep it on this host"))
    })?;
    Ok(Local { name, inspected })
}

/// `source` is the name and its tag or digest, as the engine takes them.
async fn pull(client: &Client, shown: &str, source: (&str, &str), progress: Progress<'_>) -> Result<()> {
    progress(format!("pulling {shown}"));
    let options = CreateImageOptions {
        from_image: Some(source.0.to_owned()),
        tag: Some(source.1.to_owned()),
        ..CreateImageOptions::default()
    };
    let mut answers = client.create_image(Some(options), None, None);
    let mut layers = Layers::default();
    while let Some(answer) = answers.next().await {
        let step = answer.map_err(|error| failure::of_pull(shown, error))?;
        if let Some(percent) = layers.take(&step) {
            progress(format!("pulling {shown} ({percent} %)"));
        }
    }
    Ok(())
}

/// How far a pull is: bytes of the layers heard of so far.
#[derive(Debug, Default)]
struct Layers {
    downloads: HashMap<String, (i64, i64)>,
    shown_percent: i64,
}

impl Layers {
    /// More layers than this say nothing more to a person.
    const MAX: usize = 256;

    /// The new percentage, when it grew.
    fn take(&mut self, step: &CreateImageInfo) -> Option<i64> {
        let (id, detail) = (step.id.as_ref()?, step.progress_detail.as_ref()?);
        let (current, total) = (detail.current?, detail.total?);
        // Unpacking counts the same bytes again.
        let downloading = step.status.as_deref() == Some("Downloading");
        if !downloading || (self.downloads.len() >= Self::MAX && !self.downloads.contains_key(id)) {
            return None;
        }
        self.downloads.insert(id.clone(), (current, total));
        let (done, all) = self.downloads.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let percent = if all > 0 { done * 100 / all } else { 0 };
        (percent > self.shown_percent).then(|| {
            self.shown_percent = percent;
            percent
        })
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn a_pull_only_ever_shows_growth() {
        let step = |id: &str, current, total| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        };
        let mut layers = Layers::default();
        assert_eq!(layers.take(&step("a", 50, 100)), Some(50));
        assert_eq!(layers.take(&step("b", 0, 100)), None, "a new layer makes the share smaller");
        assert_eq!(layers.take(&step("b", 50, 100)), None);
        assert_eq!(layers.take(&step("b", 100, 100)), Some(75));
        let unpacking = CreateImageInfo { status: Some("Extracting".to_owned()), ..step("a", 100, 100) };
        assert_eq!(layers.take(&unpacking), None);
    }
}
