//! Who and where the process is: user, working directory, host name.

use super::super::{Invalid, Result};
use crate::{
    container::ContainerSpec,
    parse::{Quoted, is_dns_name},
};

/// Linux keeps 64 bytes with the terminating zero.
const HOSTNAME_BYTES_MAX: usize = 63;
const USER_BYTES_MAX: usize = 255;

pub(super) fn check(container: &ContainerSpec) -> Result {
    if let Some(user) = container.user.as_deref().filter(|user| !is_user(user)) {
        return Err(Invalid::new(
            "task.container.user",
            format!("{} is not a user", Quoted(user)),
            "write a name or a number, and a group after a colon if need be, like app or 1000:1000",
        ));
    }
    if let Some(workdir) = container.workdir.as_deref().filter(|path| !path.starts_with('/') || path.contains('\0')) {
        return Err(Invalid::new(
            "task.container.workdir",
            format!("the working directory {} is not an absolute path", Quoted(workdir)),
            "start it with /",
        ));
    }
    let is_hostname = |name: &str| name.len() <= HOSTNAME_BYTES_MAX && is_dns_name(name);
    if let Some(hostname) = container.hostname.as_deref().filter(|name| !is_hostname(name)) {
        return Err(Invalid::new(
            "task.container.hostname",
            format!("{} is not a host name", Quoted(hostname)),
            "use up to 63 letters, digits, hyphens and points, with a letter or digit at each end",
        ));
    }
    Ok(())
}

/// `USER[:GROUP]`, each a name or a number.
fn is_user(user: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    user.len() <= USER_BYTES_MAX && user.split(':').count() <= 2 && user.split(':').all(is_name)
}
