//! The one place that commands write to. Results go to stdout; progress, warnings and errors to stderr, so that
//! `id=$(muster service create …)` gets the id alone.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex},
};

use crate::error::Error;

/// What stderr is, which decides how progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Somebody looks: bars that move.
    Terminal,
    /// A file, a pipe, a CI log: lines, one for each change.
    Lines,
}

pub struct Out {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    pub screen: Screen,
}

impl fmt::Debug for Out {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Out").field("screen", &self.screen).finish_non_exhaustive()
    }
}

impl Out {
    /// Stdout and stderr of this process.
    #[must_use]
    pub fn process() -> Self {
        let screen = if io::stderr().is_terminal() { Screen::Terminal } else { Screen::Lines };
        Self { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()), screen }
    }

    /// Memory, for tests: what was written to stdout and to stderr.
    #[must_use]
    pub fn captured() -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let out = Self { stdout: Box::new(stdout.clone()), stderr: Box::new(stderr.clone()), screen: Screen::Lines };
        (out, stdout, stderr)
    }

    /// A line of the result.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.stdout, "{text}").map_err(Error::from)
    }

    /// Bytes of the result as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stdout.write_all(bytes).map_err(Error::from)
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        self.stdout.flush().map_err(Error::from)
    }

    /// Bytes beside the result.
    pub fn note_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stderr.write_all(bytes).map_err(Error::from)
    }

    /// A line beside the result. That nobody reads it is no reason to fail.
    pub fn note(&mut self, text: impl fmt::Display) {
        drop(writeln!(self.stderr, "{text}"));
    }

    pub fn warn(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.note(format_args!("warning: {warning}"));
        }
    }
}

/// What an [`Out`] in memory received.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
