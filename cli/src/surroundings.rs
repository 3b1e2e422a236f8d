//! What a command reads of the process around it besides its arguments: the clock, environment variables and files.
//! One small trait, so that tests decide what they are.

use std::{fmt, fs, io, path::Path, time::SystemTime};

use muster_proto::time::Timestamp;

pub trait Surroundings: fmt::Debug {
    /// For ages and relative times on display; no decision of the cluster depends on it.
    fn now(&self) -> Timestamp;
    fn variable(&self, name: &str) -> Option<String>;
    fn read_file(&self, path: &Path) -> io::Result<String>;
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
}
