//! Structured logs on standard error.

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt};

use super::args::{Args, LogFormat};

pub(super) fn init(args: &Args) -> anyhow::Result<()> {
    let filter = match (&args.log_level, std::env::var("RUST_LOG")) {
        (Some(filter), _) => filter.clone(),
        (None, Ok(filter)) if !filter.is_empty() => filter,
        // openraft tells of every vote and every entry at its info level.
        (None, _) => "info,openraft=warn".to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).with_context(|| {
        format!(
            "invalid log level {filter:?}; use error, warn, info, debug, trace or a filter such as muster_agent=debug"
        )
    })?;
    // A line that cannot be written, to a file on a full disk, is lost. Complaining about it on the same stderr would
    // panic in whatever task wrote it.
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
