//! What a failed task left, in lines: below `service ps`, in `service inspect --pretty`, and where a wait ends.

use muster_proto::task::Evidence;

use super::text::one_line;

/// The error, with the exit code where it does not name it.
#[must_use]
pub fn error(error: &str, exit_code: Option<i32>) -> String {
    match exit_code.filter(|code| !names(error, *code)) {
        None => error.to_owned(),
        Some(code) if error.is_empty() => exit(code),
        Some(code) => format!("{error} ({})", exit(code)),
    }
}

/// Exit code, where the error does not name it, health output and last lines of output.
#[must_use]
pub fn lines(error: &str, exit_code: Option<i32>, evidence: Option<&Evidence>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(exit_code.filter(|code| !names(error, *code)).map(exit));
    lines.extend(evidence.into_iter().flat_map(|evidence| left(error, evidence)));
    lines
}

/// All of it but the exit code. The error of a task that was unhealthy holds its check's output already.
#[must_use]
pub fn left(error: &str, evidence: &Evidence) -> Vec<String> {
    let Evidence { log_tail, health, oom_killed } = evidence;
    let mut lines = Vec::new();
    if *oom_killed {
        lines.push("killed for want of memory; raise --limit-memory".to_owned());
    }
    let health = health.as_ref().map(|output| one_line(output.trim_end())).filter(|output| !error.contains(output));
    lines.extend(health.map(|output| format!("health check: {output}")));
    if !log_tail.is_empty() {
        lines.push("last output:".to_owned());
        lines.extend(log_tail.iter().map(|line| format!("  | {}", one_line(line.trim_end()))));
    }
    lines
}

fn exit(code: i32) -> String {
    format!("exit code {code}")
}

/// The agent's error, and a rollout's in its words, begin with the container's exit code where that is what went wrong;
/// further on stands what others said, as a health check's command with its own. 1 is not named by what names 137.
fn names(error: &str, code: i32) -> bool {
    let error = error.strip_prefix("ended with ").unwrap_or(error);
    error.strip_prefix(&exit(code)).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_once() {
        assert_eq!(error("unhealthy: HTTP 503", Some(137)), "unhealthy: HTTP 503 (exit code 137)");
        assert_eq!(error("exit code 3", Some(3)), "exit code 3");
        assert_eq!(error("ended with exit code 0", Some(0)), "ended with exit code 0");
        assert_eq!(error("exit code 139 (SIGSEGV)", Some(139)), "exit code 139 (SIGSEGV)");
        assert_eq!(error("exit code 13", Some(1)), "exit code 13 (exit code 1)");
        assert_eq!(error("unhealthy: exit code 1", Some(1)), "unhealthy: exit code 1 (exit code 1)");
        assert_eq!(error("", Some(1)), "exit code 1");
        assert_eq!(error("no such image", None), "no such image");
        assert!(lines("exit code 3", Some(3), None).is_empty());
    }

    #[test]
    fn a_health_checks_output_is_told_once() {
        let evidence =
            Evidence { log_tail: Vec::new(), health: Some("HTTP 503\nbusy\n".to_owned()), oom_killed: false };
        assert!(left("unhealthy: HTTP 503 busy ", &evidence).is_empty());
        assert_eq!(left("exit code 3", &evidence), ["health check: HTTP 503 busy"]);
    }

    #[test]
    fn what_a_container_wrote_moves_no_cursor() {
        let evidence = Evidence {
            log_tail: vec!["\u{1b}[2Jgone\r".to_owned()],
            health: Some("HTTP 503\nbusy\n".to_owned()),
            oom_killed: false,
        };
        assert_eq!(
            lines("unhealthy", Some(1), Some(&evidence)),
            ["exit code 1", "health check: HTTP 503 busy", "last output:", "  |  [2Jgone"]
        );
    }
}
