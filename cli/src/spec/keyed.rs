//! Lists that `service update` adds to and removes from by key.

use std::fmt::Display;

use crate::error::Error;

/// To add and to remove the same thing in one command leaves open which is meant.
pub fn refuse_both<K: PartialEq + Display>(what: &str, add: &[K], remove: &[K]) -> Result<(), Error> {
    match add.iter().find(|key| remove.contains(key)) {
        Some(key) => Err(Error::Usage(format!(
            "--{what}-add and --{what}-rm both name {key}; keep the one you mean (adding replaces what is there)"
        ))),
        None => Ok(()),
    }
}

/// Removes what matches; a warning where nothing does, because the user thought that something would.
pub fn remove<T>(list: &mut Vec<T>, flag: &str, shown: &str, matches: impl Fn(&T) -> bool) -> Option<String> {
    let before = list.len();
    list.retain(|item| !matches(item));
    (list.len() == before).then(|| nothing(flag, shown))
}

#[must_use]
pub fn nothing(flag: &str, shown: &str) -> String {
    format!("--{flag} {shown}: the service has none such, nothing is removed")
}

/// In the place of the item of the same key, else at the end.
pub fn put<T>(list: &mut Vec<T>, item: T, same: impl Fn(&T, &T) -> bool) {
    match list.iter_mut().find(|known| same(known, &item)) {
        Some(known) => *known = item,
        None => list.push(item),
    }
}
