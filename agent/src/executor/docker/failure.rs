//! What an engine's answer means for a task: the one place that reads its error texts.

use bollard::errors::Error;
use muster_proto::{pin::Unresolved, task::TaskStatus};

use super::reference::Reference;
use crate::{executor::ExecutorError, words::cut};

const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const BAD_REQUEST: u16 = 400;

/// Of a pull: trying again gets the same answer until somebody changes something.
const PULL_REFUSALS: [&str; 9] = [
    "not found",
    "denied",
    "manifest unknown",
    "no such host",
    "does not exist",
    "unauthorized",
    "invalid reference format",
    "no matching manifest",
    "authentication required",
];

/// What an engine's text says of what a registry answered that was asked what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Denied,
    /// There was none.
    Silence,
    Absent,
    Other,
}

/// Looked for in this order. A host may be denied the way to its registry, and a registry that does not know who asks may
/// say "denied" of what it does not have.
const ANSWERS: [(&str, Answer); 19] = [
    ("manifest unknown", Answer::Absent),
    ("name unknown", Answer::Absent),
    ("dial tcp", Answer::Silence),
    ("denied", Answer::Denied),
    ("unauthorized", Answer::Denied),
    ("authentication required", Answer::Denied),
    ("no basic auth credentials", Answer::Denied),
    ("no such host", Answer::Silence),
    ("connection refused", Answer::Silence),
    ("connection reset", Answer::Silence),
    ("no route to host", Answer::Silence),
    ("network is unreachable", Answer::Silence),
    ("timeout", Answer::Silence),
    ("deadline exceeded", Answer::Silence),
    ("tls: ", Answer::Silence),
    ("x509: ", Answer::Silence),
    ("http response to https client", Answer::Silence),
    ("not found", Answer::Absent),
    ("does not exist", Answer::Absent),
];

/// Of a start: the image cannot run this command, on any node of this kind.
const START_REFUSALS: [&str; 5] = [
    "executable file not found",
    "exec format error",
    "no such file or directory",
    "permission denied",
    "is a directory",
];

pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: NOT_FOUND, .. })
}

pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: CONFLICT, .. })
}

/// No answer from the engine at all, as opposed to a bad one.
fn is_unavailable(error: &Error) -> bool {
    matches!(
        error,
        Error::RequestTimeoutError
            | Error::HyperLegacyError { .. }
            | Error::HyperResponseError { .. }
            | Error::IOError { .. }
            | Error::SocketNotFoundError(_)
    )
}

/// An answer about a container.
pub(super) fn of_container(error: Error) -> ExecutorError {
    if is_not_found(&error) { ExecutorError::Gone } else { of_engine(error) }
}

/// Any answer, with nothing more known.
pub(super) fn of_engine(error: Error) -> ExecutorError {
    if is_unavailable(&error) {
        ExecutorError::Unavailable(format!("Docker Engine does not answer: {}", chain(&error)))
    } else {
        ExecutorError::Failed(said(error))
    }
}

pub(super) fn of_pull(image: &str, error: Error) -> ExecutorError {
    // The engine answers a pull when the registry does.
    if matches!(error, Error::RequestTimeoutError) {
        return ExecutorError::Failed(format!(
            "the registry of {image} did not answer; check that this host reaches it"
        ));
    }
    if is_unavailable(&error) {
        return of_engine(error);
    }
    let text = said(error);
    if contains_any(&without_name(&text, image), &PULL_REFUSALS) {
        let next = match answer(&text, image) {
            Answer::Denied => "check its name, or load the image on this node: registries are asked without a login",
            Answer::Absent => "check its name, push the image, or load it on this node",
            Answer::Silence | Answer::Other => "check its name, and that this node reaches its registry",
        };
        ExecutorError::Refused(format!("image {image} cannot be pulled: {text}; {next}"))
    } else {
        ExecutorError::Failed(format!("image {image} could not be pulled: {text}"))
    }
}

fn answer(text: &str, image: &str) -> Answer {
    let text = without_name(text, image).to_lowercase();
    ANSWERS.iter().find(|(words, _)| text.contains(words)).map_or(Answer::Other, |(_, answer)| *answer)
}

/// The image's own name, alone or in an address, may hold any of the words that are looked for.
fn without_name(text: &str, image: &str) -> String {
    fn parts(text: &str) -> Vec<&str> {
        text.split(['/', ':', '@', ',', '"', '\'']).collect()
    }
    let path = parts(Reference::parse(image).path());
    let is_other = |word: &&str| !parts(word).windows(path.len()).any(|part| part == path);
    text.split(' ').filter(is_other).collect::<Vec<_>>().join(" ")
}

/// Of an image that this host does not hold.
pub(super) fn of_registry(image: &str, error: Error) -> Unresolved {
    if is_unavailable(&error) {
        return Unresolved::Unknown(of_engine(error).to_string());
    }
    let text = said(error);
    match answer(&text, image) {
        Answer::Denied => Unresolved::Denied(text),
        Answer::Silence => Unresolved::Unreachable(text),
        Answer::Absent => Unresolved::Missing(text),
        Answer::Other => Unresolved::Unknown(text),
    }
}

pub(super) fn of_create(error: Error) -> ExecutorError {
    match error {
        Error::DockerResponseServerError { status_code: BAD_REQUEST, .. } => ExecutorError::Refused(said(error)),
        // Also 404: the image was there a moment ago, and another try pulls it again.
        other => of_engine(other),
    }
}

pub(super) fn of_start(error: Error) -> ExecutorError {
    match of_container(error) {
        ExecutorError::Failed(text) if contains_any(&text, &START_REFUSALS) => {
            ExecutorError::Refused(format!("the container cannot be started: {text}; check the command and the image"))
        }
        ExecutorError::Failed(text) if text.contains("port is already allocated") => ExecutorError::Failed(format!(
            "a published host port is taken by another container: {text}; stop that one or publish another port"
        )),
        ExecutorError::Failed(text) if text.contains("address already in use") => ExecutorError::Failed(format!(
            "a published host port is taken by another process: {text}; stop that one or publish another port"
        )),
        other @ (ExecutorError::Failed(_)
        | ExecutorError::Refused(_)
        | ExecutorError::Unavailable(_)
        | ExecutorError::Gone) => other,
    }
}

/// The engine's own sentence, without the client's words around it, as one line that a terminal shows as it is.
fn said(error: Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message,
        Error::DockerStreamError { error } => error,
        other => chain(&other),
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    cut(words.collect::<Vec<_>>().join(" "), TaskStatus::MESSAGE_BYTES_MAX)
}

/// The error with its causes: the client's own text is often only "client error (Connect)".
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

fn contains_any(text: &str, needles: &[&str]) -> bool {
    let lower = text.to_lowercase();
    needles.iter().any(|needle| lower.contains(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn a_pull_that_can_never_work_is_refused_with_the_engines_words() {
        for (text, next) in [
            ("manifest unknown: x", "push the image"),
            ("pull access denied for y", "without a login"),
            ("dial tcp: lookup z: no such host", "reaches its registry"),
        ] {
            let ExecutorError::Refused(said) = of_pull("web:1", server(500, text)) else { panic!("{text}") };
            assert!(said.contains(text) && said.contains("check its name") && said.contains(next), "{said}");
        }
        assert!(matches!(of_pull("web:1", server(500, "toomanyrequests: slow down")), ExecutorError::Failed(_)));
    }

    #[test]
    fn what_a_registry_says_tells_a_wrong_name_from_one_that_it_keeps_to_itself_and_from_silence() {
        let missing = "manifest unknown: manifest unknown";
        assert_eq!(of_registry("web:1", server(404, missing)), Unresolved::Missing(missing.to_owned()));
        let hub =
            "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n";
        let Unresolved::Denied(said) = of_registry("web:1", server(401, hub)) else { panic!("{hub}") };
        assert!(!said.contains('\n'), "one line: {said}");
        let pull = "pull access denied for y, repository does not exist or may require 'docker login'";
        assert!(matches!(of_registry("web:1", server(404, pull)), Unresolved::Denied(_)));
        for text in [
            "Get \"https://z/v2/\": dial tcp: lookup z: no such host",
            "Get \"http://127.0.0.1:9/v2/\": dial tcp 127.0.0.1:9: connect: connection refused",
            "Get \"https://z/v2/\": net/http: TLS handshake timeout",
            "Get \"https://z/v2/\": x509: certificate signed by unknown authority",
            "Get \"https://z/v2/\": dial tcp 10.0.0.1:443: connect: permission denied",
        ] {
            assert_eq!(of_registry("web:1", server(500, text)), Unresolved::Unreachable(text.to_owned()));
        }
        assert!(matches!(of_registry("web:1", server(500, "toomanyrequests: slow down")), Unresolved::Unknown(_)));
        let away = Error::IOError { err: std::io::ErrorKind::ConnectionRefused.into() };
        assert!(matches!(of_registry("web:1", away), Unresolved::Unknown(said) if said.contains("engine unavailable")));
    }

    #[test]
    fn an_images_own_name_says_nothing_of_why_it_cannot_be_had() {
        for image in ["enix/x509-certificate-exporter:3", "org/mtls:1", "z:5000/org/access-denied:1", "timeout-proxy"] {
            let tagged = Reference::parse(image).tagged();
            let unknown = format!("manifest for {tagged} not found: manifest unknown: manifest unknown");
            assert_eq!(of_registry(image, server(404, &unknown)), Unresolved::Missing(unknown));
            let gone = format!("reference \"{tagged}\": not found");
            assert_eq!(of_registry(image, server(404, &gone)), Unresolved::Missing(gone));
            let name = Reference::parse(image).path();
            let busy = format!("Get \"https://z/v2/{name}/manifests/1\": toomanyrequests: slow down");
            assert_eq!(of_registry(image, server(500, &busy)), Unresolved::Unknown(busy.clone()));
            assert!(matches!(of_pull(image, server(500, &busy)), ExecutorError::Failed(_)), "{image}");
        }
        let hidden = "pull access denied for a, repository does not exist";
        assert!(matches!(of_registry("a:1", server(404, hidden)), Unresolved::Denied(_)));
    }

    #[test]
    fn what_a_registry_says_moves_no_cursor_and_fills_no_screen() {
        let loud = format!("denied:\u{1b}[2J\r\u{7}\u{9b}5A {}", "no ".repeat(1_000));
        let Unresolved::Denied(said) = of_registry("web:1", server(401, &loud)) else { panic!("{loud}") };
        assert!(said.starts_with("denied: [2J 5A no no") && said.ends_with('…'), "{said}");
        assert!(said.len() <= TaskStatus::MESSAGE_BYTES_MAX && !said.contains(char::is_control), "{said}");
        let ExecutorError::Refused(said) = of_create(server(400, "no\u{1b}[2Jname")) else { panic!("{loud}") };
        assert_eq!(said, "no [2Jname");
    }

    #[test]
    fn a_command_that_is_not_there_is_refused_and_a_taken_port_is_not() {
        let missing = "OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown";
        assert!(matches!(of_start(server(400, missing)), ExecutorError::Refused(_)));
        let taken = "driver failed programming external connectivity: port is already allocated";
        assert!(matches!(of_start(server(500, taken)), ExecutorError::Failed(_)));
        assert!(matches!(of_start(server(404, "No such container: x")), ExecutorError::Gone));
    }

    #[test]
    fn silence_is_not_an_answer() {
        let refused = Error::IOError { err: std::io::ErrorKind::ConnectionRefused.into() };
        assert!(matches!(of_container(refused), ExecutorError::Unavailable(_)));
    }
}
