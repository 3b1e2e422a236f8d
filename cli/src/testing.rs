//! What this crate's own tests share: surroundings that stand still, objects as the daemon tells them, and a daemon that
//! is none.

pub(crate) mod fake;
pub(crate) mod objects;
mod round_trips;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use muster_proto::time::Timestamp;

use crate::{surroundings::Surroundings, terminal::Echo};

/// 2026-11-22T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);

#[derive(Debug, Default)]
pub(crate) struct Fixed {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
    /// Typed one after another. None: there is no terminal.
    answers: Option<Mutex<VecDeque<String>>>,
}

impl Fixed {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(PathBuf::from(path), text.to_owned());
        self
    }

    pub(crate) fn answers(mut self, answers: &[&str]) -> Self {
        self.answers = Some(Mutex::new(answers.iter().map(|answer| (*answer).to_owned()).collect()));
        self
    }
}

impl Surroundings for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_file(path).map(String::into_bytes)
    }

    fn ask(&self, question: &str, _: Echo) -> io::Result<Option<String>> {
        let Some(answers) = &self.answers else { return Ok(None) };
        let answer = answers.lock().expect("no test panics with it").pop_front();
        Ok(Some(answer.unwrap_or_else(|| panic!("nothing was said about {question:?}"))))
    }
}
