//! What a command reads of the process around it besides its arguments: the clock, environment variables, files, and
//! what somebody types. One small trait, so that tests decide what they are.

use std::{fmt, fs, io, path::Path, time::SystemTime};

use muster_proto::time::Timestamp;

use crate::terminal::{self, Echo};

pub trait Surroundings: fmt::Debug {
    /// For ages and relative times on display; no decision of the cluster depends on it.
    fn now(&self) -> Timestamp;
    fn variable(&self, name: &str) -> Option<String>;
    fn read_file(&self, path: &Path) -> io::Result<String>;
    fn read_bytes(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A line typed in answer to `question`. None where there is no terminal to ask on.
    fn ask(&self, question: &str, echo: Echo) -> io::Result<Option<String>>;
}

/// The real ones.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Surroundings for Process {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH + since_epoch
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn ask(&self, question: &str, echo: Echo) -> io::Result<Option<String>> {
        terminal::ask(question, echo)
    }
}
