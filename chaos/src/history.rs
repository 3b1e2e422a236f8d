//! What happened, in order, as the clients saw it: one JSON object a line, written before anyone acts on it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    model::{Env, Refusal, Write},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A client is about to ask. Of one service, only one client ever writes.
    Invoke {
        call: u64,
        service: String,
        write: Write,
    },
    Ok {
        call: u64,
    },
    Refused {
        call: u64,
        refusal: Refusal,
        text: String,
    },
    /// The answer was lost: the write may have happened.
    Unknown {
        call: u64,
        text: String,
    },
    Killed {
        round: u32,
        moment: Moment,
    },
    /// Of several managers.
    Struck {
        round: u32,
        /// From 1.
        manager: usize,
        fault: Fault,
    },
    /// How far each manager has applied the log, and the digest of what that made; read while no client writes.
    Compared {
        managers: Vec<Progress>,
    },
    /// Everything there is, read while no client writes.
    Observed {
        services: BTreeMap<String, Env>,
    },
}

/// One manager's copy of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub applied: u64,
    pub digest: String,
}

/// What the daemon was doing when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    Serving,
    Starting,
}

/// Shared by the clients; the order of the file is the order of the history.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    calls: u64,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file: Mutex::new(Open { file, calls: 0 }) })
    }

    /// The number by which the answer names this call.
    pub(crate) fn invoke(&self, service: &str, write: &Write) -> anyhow::Result<u64> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        open.calls += 1;
        let call = open.calls;
        open.append(&Event::Invoke { call, service: service.to_owned(), write: write.clone() })?;
        Ok(call)
    }

    pub(crate) fn record(&self, event: &Event) -> anyhow::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).append(event)
    }
}

impl Open {
    fn append(&mut self, event: &Event) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line).context("cannot write the history")
    }
}

pub(crate) fn read(from: impl Read) -> anyhow::Result<Vec<Event>> {
    let lines = BufReader::new(from).lines().enumerate();
    lines
        .map(|(at, line)| {
            serde_json::from_str(&line?).with_context(|| format!("line {} of the history is not an event", at + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_back_in_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path).expect("the folder is empty");
        let write = Write::SetEnv { key: "K".into(), value: "1".into() };
        let call = recorder.invoke("w1", &write).expect("written");
        let killed = Event::Killed { round: 1, moment: Moment::Starting };
        recorder.record(&killed).expect("written");
        let events = read(File::open(&path).expect("it is there")).expect("it is whole");
        assert_eq!(events, [Event::Invoke { call, service: "w1".into(), write }, killed]);
        assert!(Recorder::create(&path).is_err(), "a history is never overwritten");
    }

    #[test]
    fn a_damaged_line_is_named() {
        let error = read(&b"{\"event\":\"ok\",\"call\":1}\n{\"event\":\"o"[..]).expect_err("the second line is cut");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
