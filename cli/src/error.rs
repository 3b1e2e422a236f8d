//! How a command fails, and what that means for the exit code. Every text is one sentence of what happened and one of
//! what to do; nothing is printed with Debug.

use std::io;

use tonic::{Code, Status};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line contradicts itself or asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The command was understood and could not be carried out.
    #[error("{0}")]
    Failed(String),
    /// The daemon's answer.
    #[error("{}", sentence(.0))]
    Refused(#[source] Box<Status>),
    /// Already told; only the exit code remains.
    #[error("the reason is printed above")]
    Told,
    /// Who read our output has seen enough.
    #[error("nobody reads the output any more")]
    BrokenPipe,
}

impl Error {
    pub const EXIT_FAILED: u8 = 1;
    pub const EXIT_USAGE: u8 = 2;

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => Self::EXIT_USAGE,
            Error::Failed(_) | Error::Refused(_) | Error::Told => Self::EXIT_FAILED,
            Error::BrokenPipe => 0,
        }
    }

    /// What to print, if anything.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        match self {
            Error::Usage(_) | Error::Failed(_) | Error::Refused(_) => Some(format!("muster: {self}")),
            Error::Told | Error::BrokenPipe => None,
        }
    }

    /// Nobody could answer just then: a daemon that restarts, managers that elect a leader. What was asked may be asked
    /// again where it changes nothing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Refused(status) => status.code() == Code::Unavailable || is_transport(status),
            Error::Failed(_) | Error::Usage(_) | Error::Told | Error::BrokenPipe => false,
        }
    }

    /// The gRPC code, where the daemon answered.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Refused(status) => Some(status.code()),
            Error::Usage(_) | Error::Failed(_) | Error::Told | Error::BrokenPipe => None,
        }
    }
}

/// The daemon's statuses carry a sentence for the user. Those that tonic makes itself do not.
fn sentence(status: &Status) -> String {
    let text = status.message();
    match status.code() {
        Code::Unimplemented => {
            "the daemon does not know this command; it is of another version than this muster (compare with `muster version`)"
                .to_owned()
        }
        Code::Cancelled | Code::DeadlineExceeded if text.contains("Timeout expired") || text.is_empty() => {
            "the daemon did not answer in time; look at its log, and whether it has a leader, with `muster info`".to_owned()
        }
        _ if is_transport(status) => {
            "lost the connection to the muster daemon; look whether it still runs, then try again".to_owned()
        }
        _ if text.is_empty() => {
            format!("the daemon refused without a reason ({}); look at its log", status.code())
        }
        _ => text.to_owned(),
    }
}

/// The connection broke, as opposed to the daemon having answered.
#[must_use]
fn is_transport(status: &Status) -> bool {
    let text = status.message();
    std::error::Error::source(status).is_some()
        || text.contains("h2 protocol error")
        || text.contains("transport error")
        || text.contains("error reading a body")
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Refused(Box::new(status))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Error::BrokenPipe,
            _ => Error::Failed(format!("cannot write the output: {error}; look at where it goes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_sentence_is_shown_as_it_is() {
        let error = Error::from(Status::not_found("no service web; `muster service ls` lists them"));
        assert_eq!(error.shown().unwrap(), "muster: no service web; `muster service ls` lists them");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn what_tonic_says_is_put_in_words() {
        let shown = |status: Status| Error::from(status).to_string();
        assert!(shown(Status::cancelled("Timeout expired")).contains("did not answer in time"));
        assert!(shown(Status::unknown("transport error")).contains("lost the connection"));
        assert!(shown(Status::aborted("h2 protocol error: http2 error")).contains("lost the connection"));
        assert!(shown(Status::unimplemented("")).contains("another version"));
        assert!(shown(Status::internal("")).contains("without a reason"));
    }

    #[test]
    fn a_broken_pipe_is_silent() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.shown()), (0, None));
    }
}
