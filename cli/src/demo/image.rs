//! Images of the demo app: one static program and nothing else, imported into the engine without a registry.

use std::path::Path;

use anyhow::{Context, bail};
use bollard::{Docker, query_parameters::CreateImageOptionsBuilder};
use futures_util::TryStreamExt;

/// Linked by the build script; see `deploy/demo-app`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo-app"));
const CALL_TIMEOUT_SECONDS: u64 = 60;
/// Where the app listens in its container.
pub const PORT: u16 = 8000;

/// The app itself, to be run without an engine.
#[must_use]
pub fn program() -> &'static [u8] {
    PROGRAM
}

pub fn connect(socket: &Path) -> anyhow::Result<Docker> {
    let path = socket.to_str().context("the path of the engine's socket is not text")?;
    Ok(Docker::connect_with_unix(path, CALL_TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)?)
}

/// Makes `NAME:TAG`; the app in it answers with version TAG. Returns the image's id.
pub async fn build(docker: &Docker, reference: &str) -> anyhow::Result<String> {
    let Some((name, tag)) = reference.rsplit_once(':').filter(|(name, tag)| !name.is_empty() && !tag.contains('/'))
    else {
        bail!("invalid image name {reference:?}: the tag is the app's version; write it like myapp:1.0.0");
    };
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(name)
        .tag(tag)
        .changes(vec!["ENTRYPOINT [\"/demo-app\"]".to_owned(), format!("ENV VERSION={tag}"), format!("EXPOSE {PORT}")])
        .build();
    let body = bollard::body_full(archive()?.into());
    let steps: Vec<_> = docker
        .create_image(Some(options), Some(body), None)
        .try_collect()
        .await
        .with_context(|| format!("cannot make the image {reference}"))?;
    match docker.inspect_image(reference).await {
        Ok(image) => image.id.context("the engine gave the image no id"),
        Err(error) => Err(error).with_context(|| format!("the engine did not keep the image {reference}: {steps:?}")),
    }
}

fn archive() -> anyhow::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(PROGRAM.len() as u64);
    header.set_mode(0o755);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "demo-app", PROGRAM)?;
    Ok(archive.into_inner()?)
}
