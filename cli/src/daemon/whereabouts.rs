//! Where this node's managers are, as far as it knows: what they last said of themselves to its agent, which writes it
//! down, and what came with its certificate, which may be months old.
//!
//! A value that follows the agent: whoever holds it is up to date whenever it looks.

use std::path::Path;

use tokio::sync::watch;

use super::record::Record;

#[derive(Clone, Debug)]
pub(super) struct Whereabouts {
    /// `host:port` each, as the rest. Empty until a manager has said so.
    heard: watch::Receiver<Vec<String>>,
    granted: Vec<String>,
}

impl Whereabouts {
    pub(super) fn of(agent: &muster_agent::Handle, record: &Record) -> Self {
        Self { heard: agent.managers(), granted: record.managers.clone() }
    }

    /// Of a node whose agent does not run: what one has left in its folder. Blocking.
    pub(super) fn remembered(agent: &Path, record: &Record) -> Self {
        let (_, heard) = watch::channel(muster_agent::known_managers(agent));
        Self { heard, granted: record.managers.clone() }
    }

    /// Where users are to go: where managers were last is no place for them.
    pub(super) fn latest(&self) -> Vec<String> {
        let heard = self.heard.borrow().clone();
        if heard.is_empty() { self.granted.clone() } else { heard }
    }

    /// Where to ask one after another, the likeliest first.
    pub(super) fn all(&self) -> Vec<String> {
        let mut all = self.heard.borrow().clone();
        for address in &self.granted {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }
}

#[cfg(test)]
impl Whereabouts {
    pub(super) fn new(heard: watch::Receiver<Vec<String>>, granted: &[&str]) -> Self {
        Self { heard, granted: granted.iter().map(|address| (*address).to_owned()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_managers_said_last_comes_first() {
        let (told, heard) = watch::channel(Vec::new());
        let managers = Whereabouts::new(heard, &["a", "b"]);
        assert_eq!((managers.latest(), managers.all()), (strings(&["a", "b"]), strings(&["a", "b"])));
        told.send_replace(strings(&["c", "b"]));
        assert_eq!((managers.latest(), managers.all()), (strings(&["c", "b"]), strings(&["c", "b", "a"])));
    }

    fn strings(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|address| (*address).to_owned()).collect()
    }
}
