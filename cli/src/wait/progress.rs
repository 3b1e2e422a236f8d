//! Shows how a service comes along: bars on a terminal, elsewhere a line for each change.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use muster_proto::{task::Slot, task_state::TaskState};

use super::{
    slots::{self, Phase, SlotView},
    verdict::{Goal, Snapshot},
};
use crate::{
    format::text::Truncate,
    object::{Service, Task},
    out::{Out, Screen},
};

/// More bars than this scroll the start off the screen; then one bar stands for all.
const BARS_MAX: usize = 10;
/// A bar's length in states, from New to Running and one more for being ready.
const STEPS: u64 = 8;
/// A global service's slots are named by node ids.
const PREFIX_LEN: usize = 4;

#[derive(Debug)]
pub enum Progress {
    /// `--quiet`.
    Silent,
    Lines(Lines),
    Bars(Bars),
}

impl Progress {
    #[must_use]
    pub fn on(screen: Screen) -> Self {
        match screen {
            Screen::Lines => Progress::Lines(Lines::default()),
            Screen::Terminal => Progress::Bars(Bars::new()),
        }
    }

    pub fn show(&mut self, snapshot: &Snapshot, goal: &Goal, out: &mut Out) {
        let Some(service) = &snapshot.service else { return };
        let views = slots::views(service, &snapshot.tasks, goal.versions(service));
        match self {
            Progress::Silent => {}
            Progress::Lines(lines) => lines.show(service, &views, out),
            Progress::Bars(bars) => bars.show(service, &views),
        }
    }

    /// Leaves the bars as they are, so that what follows comes below them.
    pub fn end(&mut self) {
        match self {
            Progress::Silent | Progress::Lines(_) => {}
            Progress::Bars(bars) => bars.end(),
        }
    }
}

#[derive(Debug, Default)]
pub struct Lines {
    overall: String,
    troubles: BTreeMap<Slot, String>,
}

impl Lines {
    fn show(&mut self, service: &Service, views: &[SlotView<'_>], out: &mut Out) {
        for view in views {
            let Some(trouble) = trouble(view) else { continue };
            if self.troubles.get(&view.slot) != Some(&trouble) {
                out.note(format_args!("{}.{}: {trouble}", service.spec.name, view.slot));
                self.troubles.insert(view.slot, trouble);
            }
        }
        let overall = overall(service, views);
        if overall != self.overall {
            out.note(format_args!("{}: {overall}", service.spec.name));
            self.overall = overall;
        }
    }
}

#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    slots: BTreeMap<Slot, ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is constant").progress_chars("=> ")
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let overall = all.add(ProgressBar::new(1).with_style(style("{wide_msg}")));
        Self { all, overall, slots: BTreeMap::new() }
    }

    fn show(&mut self, service: &Service, views: &[SlotView<'_>]) {
        self.overall.set_message(format!("{}: {}", service.spec.name, overall(service, views)));
        if views.len() > BARS_MAX {
            self.slots.values().for_each(ProgressBar::finish_and_clear);
            self.slots.clear();
            self.overall.set_style(style("[{bar:40}] {wide_msg}"));
            self.overall.set_length(views.len() as u64);
            self.overall.set_position(slots::count(views, Phase::Running) as u64);
            return;
        }
        for view in views {
            let all = &self.all;
            let bar = self.slots.entry(view.slot).or_insert_with(|| {
                let prefix: String = view.slot.to_string().chars().take(PREFIX_LEN).collect();
                let bar = ProgressBar::new(STEPS).with_style(style("{prefix:>4} [{bar:30}] {wide_msg}"));
                all.add(bar.with_prefix(prefix))
            });
            bar.set_position(position(view));
            let trouble = trouble(view).map_or_else(String::new, |trouble| format!(": {trouble}"));
            bar.set_message(format!("{}{trouble}", word(view)));
        }
        self.slots.retain(|slot, bar| {
            let stays = views.iter().any(|view| view.slot == *slot);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
    }

    fn end(&mut self) {
        self.slots.values().for_each(ProgressBar::abandon);
        self.overall.abandon();
    }
}

fn position(view: &SlotView<'_>) -> u64 {
    match view.phase {
        Phase::Missing | Phase::Blocked | Phase::GivenUp => 0,
        Phase::Running | Phase::Complete => STEPS,
        Phase::Underway if view.task.is_some_and(Task::is_followed) => 0,
        Phase::Underway => match view.task.map_or(TaskState::New, |task| task.status.state) {
            TaskState::New => 0,
            TaskState::Pending => 1,
            TaskState::Assigned => 2,
            TaskState::Accepted => 3,
            TaskState::Preparing => 4,
            TaskState::Ready => 5,
            TaskState::Starting => 6,
            TaskState::Running
            | TaskState::Complete
            | TaskState::Shutdown
            | TaskState::Failed
            | TaskState::Rejected
            | TaskState::Orphaned => 7,
        },
    }
}

fn word(view: &SlotView<'_>) -> String {
    match view.phase {
        Phase::Missing => "waiting for its turn".to_owned(),
        Phase::Blocked => "waiting for a node".to_owned(),
        Phase::Running => "running".to_owned(),
        Phase::Complete => "complete".to_owned(),
        Phase::GivenUp => "failed".to_owned(),
        Phase::Underway => view.task.map_or_else(String::new, |task| match is_restarting(task) {
            true => "waiting to restart".to_owned(),
            false => task.status.state.to_string().to_lowercase(),
        }),
    }
}

fn is_restarting(task: &Task) -> bool {
    task.start_after.is_some() && task.failures > 0 || task.is_followed()
}

/// What to know about a slot that does not just come along.
fn trouble(view: &SlotView<'_>) -> Option<String> {
    match view.phase {
        Phase::Missing | Phase::Running | Phase::Complete => None,
        Phase::Blocked => view.task.and_then(|task| task.blocked_by()).map(str::to_owned),
        Phase::Underway | Phase::GivenUp => {
            let failed = view.last_failure?;
            let id = Truncate::Short.id(&failed.id);
            Some(format!("task {id} {}: {}", failed.how_it_went(), failed.failure()))
        }
    }
}

/// `2 of 3 running, 1 preparing`; under a rollout, how far that is.
fn overall(service: &Service, views: &[SlotView<'_>]) -> String {
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for view in views.iter().filter(|view| view.phase != Phase::Running) {
        *words.entry(word(view)).or_default() += 1;
    }
    let running = slots::count(views, Phase::Running);
    let rest: String = words.iter().map(|(word, count)| format!(", {count} {word}")).collect();
    let rollout = service.rollout.as_ref().filter(|rollout| rollout.target == service.template_version);
    match rollout.filter(|rollout| rollout.state.is_moving()) {
        Some(rollout) if rollout.state.is_rollback() => {
            format!("{running} of {} rolled back{rest}: {}", views.len(), rollout.message)
        }
        Some(_) => format!("{running} of {} updated{rest}", views.len()),
        None => format!("{running} of {} running{rest}", views.len()),
    }
}
