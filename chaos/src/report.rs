//! What a run prints.

use std::{fmt, path::PathBuf, time::Duration};

use crate::check::Verdict;

#[derive(Debug)]
pub(crate) struct Report {
    pub seed: u64,
    pub took: Duration,
    /// From each start of the daemon to its first answer.
    pub restarts: Vec<Duration>,
    /// Services that did not come to run one task each, as `name 0/1`.
    pub unsettled: Vec<String>,
    /// Lines of the daemons' logs.
    pub panics: Vec<String>,
    pub verdict: Verdict,
    /// Where the history and the daemon's log are, when they are kept.
    pub kept: Option<PathBuf>,
    pub replay: String,
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        self.verdict.violations.is_empty() && self.unsettled.is_empty() && self.panics.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed      {}", self.seed)?;
        writeln!(out, "took      {:.1} s", self.took.as_secs_f32())?;
        let mut restarts = self.restarts.clone();
        restarts.sort_unstable();
        if let (Some(median), Some(most)) = (restarts.get(restarts.len() / 2), restarts.last()) {
            writeln!(
                out,
                "restarts  answered after {} ms (median), {} ms (most)",
                median.as_millis(),
                most.as_millis()
            )?;
        }
        writeln!(out, "{}", verdict(&self.verdict))?;
        for service in &self.unsettled {
            writeln!(out, "unsettled {service}")?;
        }
        for panic in &self.panics {
            writeln!(out, "violation the daemon panicked: {panic}")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(out, "kept      {}", kept.display())?;
        }
        match self.is_good() {
            true => write!(out, "passed"),
            false => write!(out, "FAILED; once more: {}", self.replay),
        }
    }
}

pub(crate) fn verdict(verdict: &Verdict) -> impl fmt::Display {
    let violations: String = verdict.violations.iter().map(|violation| format!("\nviolation {violation}")).collect();
    format!(
        "writes    {} acknowledged, {} refused, {} unknown\n\
         kills     {}, of them {} while the daemon was starting\n\
         faults    {} on one of several managers, whose states were compared {} times\n\
         observed  {} times, {} services at the end\n\
         verdict   {} violations{violations}",
        verdict.acknowledged,
        verdict.refused,
        verdict.unknown,
        verdict.kills,
        verdict.kills_while_starting,
        verdict.strikes,
        verdict.comparisons,
        verdict.observations,
        verdict.services,
        verdict.violations.len(),
    )
}
