//! The loop that follows a service until it is as asked, cannot be, or the user has seen enough.

use tokio::time::Instant;

use super::{
    progress::Progress,
    source::{Event, Source},
    verdict::{Goal, Judge, Snapshot, Verdict},
};
use crate::{connect::Host, error::Error, out::Out};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chatter {
    Progress,
    Quiet,
}

/// What is waited for.
#[derive(Debug)]
pub struct Wait<'a> {
    pub host: &'a Host,
    pub service_id: &'a str,
    pub name: &'a str,
    pub goal: Goal,
    pub chatter: Chatter,
}

enum Ended {
    Converged(String),
    Interrupted,
}

pub async fn until_as_asked(wait: Wait<'_>, out: &mut Out) -> Result<(), Error> {
    let mut progress = match wait.chatter {
        Chatter::Progress => Progress::on(out.screen),
        Chatter::Quiet => Progress::Silent,
    };
    let ended = follow(&wait, &mut progress, out).await;
    progress.end();
    match (ended?, wait.chatter) {
        (Ended::Converged(text), Chatter::Progress) => out.note(text),
        (Ended::Converged(_), Chatter::Quiet) => {}
        (Ended::Interrupted, Chatter::Progress | Chatter::Quiet) => out.note(format_args!(
            "service {name}: the operation goes on in the background; watch it with `muster service ps {name}`",
            name = wait.name
        )),
    }
    Ok(())
}

async fn follow(wait: &Wait<'_>, progress: &mut Progress, out: &mut Out) -> Result<Ended, Error> {
    tokio::select! {
        ended = judged(wait, progress, out) => ended.map(Ended::Converged),
        _ = tokio::signal::ctrl_c() => Ok(Ended::Interrupted),
    }
}

async fn judged(wait: &Wait<'_>, progress: &mut Progress, out: &mut Out) -> Result<String, Error> {
    let began = Instant::now();
    let mut judge = Judge::new(wait.goal.clone(), wait.name);
    let mut latest: Option<Box<Snapshot>> = None;
    let mut source = Source::new(wait);
    loop {
        match source.next(out).await? {
            Event::Tick => {}
            Event::Changed(snapshot) => {
                progress.show(&snapshot, &wait.goal, out);
                latest = Some(snapshot);
            }
        }
        let (Some(snapshot), Some(watched)) = (&latest, source.watched(began)) else { continue };
        match judge.verdict(snapshot, watched) {
            Verdict::Going => {}
            Verdict::Converged(text) => return Ok(text),
            Verdict::Failed(why) => return Err(Error::Failed(why)),
        }
    }
}
