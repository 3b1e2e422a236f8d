//! What runs inside a task's container.

mod capability;
mod environment;
mod identity;
mod ulimit;

use super::{Invalid, LIST_MAX, Result, TASK_WAIT_MAX, at_most, count, health, labels, mounts, no_zero_byte};
use crate::{
    container::ContainerSpec,
    parse::{self, Quoted, image::is_digest},
    pin::ImagePin,
};

pub(super) fn check(container: &ContainerSpec) -> Result {
    image(container)?;
    labels::check("task.container.labels", "container", &container.labels)?;
    labels::none_reserved("task.container.labels", &container.labels)?;
    command(container)?;
    environment::check(&container.env)?;
    identity::check(container)?;
    mounts::check(&container.mounts)?;
    capability::check("task.container.cap_add", &container.cap_add)?;
    capability::check("task.container.cap_drop", &container.cap_drop)?;
    ulimit::check(&container.ulimits)?;
    if let Some(signal) = &container.stop_signal {
        parse::signal(signal)
            .map_err(|error| Invalid { field: "task.container.stop_signal".to_owned(), text: error.to_string() })?;
    }
    at_most("task.container.stop_grace_period_ms", "stop grace period", container.stop_grace_period, TASK_WAIT_MAX)?;
    health::check(&container.health)
}

fn image(container: &ContainerSpec) -> Result {
    let field = "task.container.image";
    if container.image.is_empty() {
        return Err(Invalid::new(field, "the service has no image", "name one, like app:1.0"));
    }
    parse::image(&container.image).map_err(|error| Invalid { field: field.to_owned(), text: error.to_string() })?;
    match &container.pin {
        Some(ImagePin::Digest(digest) | ImagePin::LocalId(digest)) if !is_digest(digest) => Err(Invalid::new(
            "task.container.pin",
            format!("the image is pinned to {}, which is no digest", Quoted(digest)),
            "leave the pin to the cluster",
        )),
        Some(_) | None => Ok(()),
    }
}

fn command(container: &ContainerSpec) -> Result {
    count("task.container.entrypoint", "words in the entrypoint", container.entrypoint.len(), LIST_MAX)?;
    count("task.container.args", "arguments", container.args.len(), LIST_MAX)?;
    no_zero_byte("task.container.entrypoint", "entrypoint", container.entrypoint.iter().map(String::as_str))?;
    no_zero_byte("task.container.args", "argument", container.args.iter().map(String::as_str))?;
    match container.entrypoint.first() {
        Some(program) if program.is_empty() => {
            Err(Invalid::new("task.container.entrypoint", "the entrypoint is empty", "name a program, or leave it out"))
        }
        Some(_) | None => Ok(()),
    }
}
