//! Lists that `service update` and `node update` add to and remove from by key.

use std::{collections::BTreeMap, fmt::Display};

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
    format!("--{flag} {shown}: there is none such, nothing is removed")
}

/// In the place of the item of the same key, else at the end.
pub fn put<T>(list: &mut Vec<T>, item: T, same: impl Fn(&T, &T) -> bool) {
    match list.iter_mut().find(|known| same(known, &item)) {
        Some(known) => *known = item,
        None => list.push(item),
    }
}

/// `--WHAT-add` and `--WHAT-rm`.
pub fn labels(
    what: &str,
    labels: &mut BTreeMap<String, String>,
    add: &[(String, String)],
    remove: &[String],
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let keys: Vec<&String> = add.iter().map(|(key, _)| key).collect();
    refuse_both(what, &keys, &remove.iter().collect::<Vec<_>>())?;
    for key in remove {
        if labels.remove(key).is_none() {
            warnings.push(nothing(&format!("{what}-rm"), key));
        }
    }
    labels.extend(add.iter().cloned());
    Ok(())
}
