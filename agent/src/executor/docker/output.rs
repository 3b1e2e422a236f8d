//! What containers write: their logs, and the output of commands run in them.

use std::{pin::pin, time::Duration};

use bollard::{
    Docker as Client,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
    query_parameters::LogsOptions,
};
use futures_util::{Stream, StreamExt};
use muster_proto::{task::Evidence, time::Timestamp};
use tokio::time::timeout;

use super::failure;
use crate::executor::{ContainerId, ExecOutput, ExecutorError, LogOptions, LogRecord, Result};

/// The part of an RFC 3339 stamp that engine and [`Timestamp`] write alike: up to milliseconds.
const STAMP_MILLIS_LEN: usize = "2026-11-22T00:00:00.000".len();

pub(super) fn logs(
    client: &Client,
    container: &ContainerId,
    options: &LogOptions,
) -> impl Stream<Item = Result<LogRecord>> + Send + use<> {
    let since = options.since.map(Timestamp::from_millis);
    let engine = LogsOptions {
        follow: options.follow,
        stdout: true,
        stderr: true,
        // The client sends whole seconds; the rest is cut off below.
        since: since.map_or(0, |at| i32::try_from(at.millis() / 1000).unwrap_or(i32::MAX)),
        timestamps: true,
        tail: options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        ..LogsOptions::default()
    };
    let from = since.map(|at| at.to_string());
    client.logs(&container.0, Some(engine)).filter_map(move |answer| {
        let kept = match answer {
            Ok(output) => {
                let record = record(&output);
                let early = from.as_ref().is_some_and(|from| is_before(&record.timestamp, from));
                (!early).then_some(Ok(record))
            }
            Err(error) => Some(Err(failure::of_container(error))),
        };
        std::future::ready(kept)
    })
}

fn is_before(stamp: &str, from: &str) -> bool {
    match (stamp.get(..STAMP_MILLIS_LEN), from.get(..STAMP_MILLIS_LEN)) {
        (Some(stamp), Some(from)) => stamp < from,
        (None, _) | (_, None) => false,
    }
}

/// One line as the engine sends it: its stamp, a space, the text. The newline goes.
fn record(output: &LogOutput) -> LogRecord {
    let stderr = matches!(output, LogOutput::StdErr { .. });
    let line = output.as_ref();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    LogRecord {
        stderr,
        text: line.get(at + 1..).unwrap_or_default().to_vec(),
        timestamp: String::from_utf8_lossy(&line[..at]).into_owned(),
    }
}

/// The engine cannot end a command it runs in a container: one that takes longer than `limit` is left to itself.
pub(super) async fn exec(
    client: &Client,
    container: &ContainerId,
    argv: &[String],
    limit: Duration,
) -> Result<ExecOutput> {
    let run = async {
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.to_vec()),
            ..CreateExecOptions::default()
        };
        let id = client.create_exec(&container.0, options).await.map_err(failure::of_container)?.id;
        let text = match client.start_exec(&id, None).await.map_err(failure::of_container)? {
            StartExecResults::Attached { output, input: _ } => collect(output).await?,
            StartExecResults::Detached => String::new(),
        };
        let ended = client.inspect_exec(&id).await.map_err(failure::of_container)?;
        let code = ended.exit_code.ok_or_else(|| {
            ExecutorError::Failed(format!("the command {} closed its output and goes on", argv.join(" ")))
        })?;
        Ok(ExecOutput { code, text })
    };
    timeout(limit, run).await.unwrap_or_else(|_| {
        Err(ExecutorError::Failed(format!("the command {} took longer than {} ms", argv.join(" "), limit.as_millis())))
    })
}

/// Reads to the end, keeps the beginning.
async fn collect(output: impl Stream<Item = std::result::Result<LogOutput, bollard::errors::Error>>) -> Result<String> {
    let mut output = pin!(output);
    let mut kept = Vec::new();
    while let Some(piece) = output.next().await {
        let piece = piece.map_err(failure::of_container)?;
        let room = Evidence::TEXT_BYTES_MAX - kept.len();
        let bytes = piece.as_ref();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    let mut text = String::from_utf8_lossy(&kept).into_owned();
    // What was no UTF-8 takes more room as text.
    while text.len() > Evidence::TEXT_BYTES_MAX {
        text.pop();
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_stamp_and_text() {
        let output = LogOutput::StdErr { message: "2026-11-22T01:02:03.000456789Z two words\n".into() };
        let record = record(&output);
        assert!(record.stderr);
        assert_eq!(record.text, b"two words");
        assert_eq!(record.timestamp, "2026-11-22T01:02:03.000456789Z");
    }

    #[test]
    fn an_empty_line_stays_one() {
        let record = record(&LogOutput::StdOut { message: "2026-11-22T01:02:03.000456789Z \n".into() });
        assert_eq!(record.text, b"");
    }

    #[test]
    fn since_cuts_at_the_millisecond() {
        let from = Timestamp::from_millis(1_795_305_600_500).to_string();
        assert!(is_before("2026-11-22T00:00:00.499999999Z", &from));
        assert!(!is_before("2026-11-22T00:00:00.500000000Z", &from));
    }
}
