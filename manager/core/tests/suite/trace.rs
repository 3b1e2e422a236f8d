//! Shows what happened, a line each, with short names: nodes n1, n2, tasks t1, t2, templates by image.

use muster_core::{
    action::Action,
    plan::rebalance::{Held, Rebalance},
    state::State,
};
use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    rollout::Rollout,
    service::Service,
    task::{Slot, Task},
    task_state::DesiredState,
    time::Timestamp,
    version::TemplateVersion,
};

use crate::world::{Event, START, World};

pub(crate) fn clock(at: Timestamp) -> String {
    let millis = at.millis().saturating_sub(START.millis());
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn node(id: NodeId) -> String {
    format!("n{}", id.bits())
}

fn task(id: TaskId) -> String {
    format!("t{}", id.bits())
}

fn place(state: &State, service: ServiceId, slot: Slot) -> String {
    let name = state.service(service).map_or("?", |service| service.spec.name.as_str());
    match slot {
        Slot::Number(number) => format!("{name}.{number}"),
        Slot::Node(id) => format!("{name}.{}", node(id)),
    }
}

fn place_of(row: &Task) -> String {
    match row.slot {
        Slot::Number(number) => format!("{}.{number}", row.service_name),
        Slot::Node(id) => format!("{}.{}", row.service_name, node(id)),
    }
}

fn image(state: &State, service: ServiceId, version: TemplateVersion) -> String {
    let of_task = state.tasks_of_service(service).find(|task| task.template_version == version);
    of_task.map_or_else(|| "?".to_owned(), |task| task.template.spec.container.image.clone())
}

/// Identifiers and absolute times inside sentences, as the short names of this trace.
fn plain(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let stamp = word.contains('T') && word.ends_with('Z') && word.len() == 24;
        words.push(if stamp { "(time)".to_owned() } else { word.to_owned() });
    }
    words.join(" ")
}

pub(crate) fn rollout(rollout: &Rollout) -> String {
    format!(
        "{} done={} failed={}: {}",
        rollout.state.as_str(),
        rollout.done.len(),
        rollout.failed.len(),
        rollout.message
    )
}

pub(crate) fn listen(world: &World, event: Event<'_>, trace: &mut Vec<String>) {
    let at = clock(world.now);
    match event {
        Event::Executed(action) => trace.push(format!("{at} {}", shown(world, action))),
        Event::Stale(action, why) => trace.push(format!("{at} stale ({why}): {}", shown(world, action))),
        Event::Reported(on, id) => {
            if let Some(row) = world.state.task(id) {
                let code = row.status.exit_code.map(|code| format!(" code {code}")).unwrap_or_default();
                let removed = if row.status.removed { ", removed" } else { "" };
                trace.push(format!(
                    "{at}   {}: {} {} {}{code}{removed}",
                    node(on),
                    task(id),
                    place_of(row),
                    row.status.state
                ));
            }
        }
    }
}

fn shown(world: &World, action: &Action) -> String {
    let state = &world.state;
    let named = |id: TaskId| {
        let row = state.task(id);
        format!("{} {}", task(id), row.map_or_else(|| "?".to_owned(), place_of))
    };
    match action {
        Action::CreateTask { id, service_id, slot, template_version, desired, start_after, placement, .. } => {
            let target = match placement {
                Ok(id) => format!("on {}", node(*id)),
                Err(waiting) => format!("waits: {}", plain(&waiting.to_string())),
            };
            let held = match (desired, start_after) {
                (DesiredState::Ready, Some(at)) => format!(", ready, starts at {}", clock(*at)),
                (DesiredState::Ready, None) => ", ready".to_owned(),
                (DesiredState::Running | DesiredState::Shutdown | DesiredState::Remove, _) => String::new(),
            };
            let image = image(state, *service_id, *template_version);
            format!("create {} {} {image} {target}{held}", task(*id), place(state, *service_id, *slot))
        }
        Action::AssignTask { id, node_id, .. } => format!("assign {} to {}", named(*id), node(*node_id)),
        Action::SetDesired { id, desired, .. } => format!("want {} {desired}", named(*id)),
        Action::SetWaiting { id, waiting, .. } => {
            let why = waiting.as_ref().map_or_else(|| "nothing".to_owned(), |waiting| plain(&waiting.to_string()));
            format!("{} waits: {why}", named(*id))
        }
        Action::KeepTask { id, .. } => format!("keep {}", named(*id)),
        Action::OrphanTask { id, .. } => format!("orphan {}", named(*id)),
        Action::ForgetTask { id, .. } => format!("forget {}", task(*id)),
        Action::SetRollout { rollout: books, .. } | Action::StartRollback { rollout: books, .. } => {
            format!("rollout {}", rollout(books))
        }
    }
}

/// What a rebalance would do, and why not more.
pub(crate) fn plan(state: &State, plan: &Rebalance) -> Vec<String> {
    let name = |id: ServiceId| state.service(id).map_or("?", |service| service.spec.name.as_str());
    let mut lines = Vec::new();
    lines.extend(plan.held.as_ref().map(|held| match held {
        Held::NodesAway(nodes) => {
            let nodes: Vec<String> = nodes.iter().map(|id| node(*id)).collect();
            format!("held: {} away", nodes.join(", "))
        }
        Held::Quiet { until } => format!("held: quiet until {}", clock(*until)),
        Held::Moving => "held: tasks are moving".to_owned(),
    }));
    lines.extend(plan.moves.iter().map(|one| {
        format!(
            "move {} {} from {} to {}",
            task(one.task),
            place(state, one.service, one.slot),
            node(one.from),
            node(one.to)
        )
    }));
    lines.extend(plan.staying.iter().map(|(id, why)| format!("{} stays: {why}", name(*id))));
    lines.extend(plan.is_cut.then(|| "and more".to_owned()));
    lines
}

/// One line for the service and one for each of its rows.
pub(crate) fn show(world: &World, service: &Service) -> Vec<String> {
    let mut lines = Vec::new();
    let ports: Vec<String> = service.ports.iter().map(|port| port.published.to_string()).collect();
    let ports = if ports.is_empty() { String::new() } else { format!(" ports {}", ports.join(",")) };
    let image = &service.spec.task.container.image;
    let previous = service.previous.as_ref().map(|p| format!(", before {}", p.spec.task.container.image));
    lines.push(format!("{} {image}{}{ports}", service.spec.name, previous.unwrap_or_default()));
    lines.extend(service.rollout.as_ref().map(|books| format!("  {}", rollout(books))));
    for row in world.state.tasks_of_service(service.id) {
        let on = row.node_id.map_or_else(|| "-".to_owned(), node);
        let moves = row.moves_to.map(|to| format!(" to {}", node(to))).filter(|_| row.is_active());
        let waiting = row.waiting.as_ref().map(|w| format!(" waits: {}", plain(&w.to_string())));
        lines.push(format!(
            "  {} {} {} {on}{} {} {}{}",
            place_of(row),
            task(row.id),
            row.template.spec.container.image,
            moves.unwrap_or_default(),
            row.desired,
            row.status.state,
            waiting.unwrap_or_default()
        ));
    }
    lines
}
