//! Runs `scenarios/*.txt`: commands, `----`, and the whole trace they lead to. `UPDATE_EXPECT=1` writes the traces
//! anew; read the difference before you commit it.
//!
//!     cluster [nodes=3] [history=5] [auto-rebalance]
//!     image NAME [exit=CODE after=1s] [never] [refused] [start=1s] [stop=1s] [late=1s]
//!     service create|update NAME key=…     service scale NAME N | service rollback|pause|resume|promote|rm NAME
//!     node N down|up|cut|unknown|reboot|drain|active|pause|rm|new|engine-off|engine-on|label=key:value
//!     run 10s                              clock 20m (it leaps)                 show [NAME]
//!     leader (another one)                 rebalance [dry] [auto] [MOVES]

use std::{fs, path::Path};

use muster_core::command::{Command, Outcome, Steer};
use muster_proto::{
    cluster::ClusterSpec,
    id::NodeId,
    node::{Availability, EngineHealth, NodeSpec, NodeState},
    service::ServiceSpec,
};

use crate::{
    agents::Image,
    spec, trace,
    world::{World, node_id},
};

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("the scenarios").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no scenario in {}", folder.display());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut differing = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a scenario");
        println!("{}", file.display());
        let actual = play(&text);
        if actual == text {
            continue;
        }
        if update {
            fs::write(&file, &actual).expect("the scenario is written");
        } else {
            differing.push(format!("{}\n{}", file.display(), first_difference(&text, &actual)));
        }
    }
    assert!(differing.is_empty(), "{}\n`UPDATE_EXPECT=1 cargo test` writes them anew", differing.join("\n"));
}

fn first_difference(expected: &str, actual: &str) -> String {
    let line = expected.lines().zip(actual.lines()).take_while(|(one, other)| one == other).count();
    let at = |text: &str| text.lines().skip(line).take(6).collect::<Vec<_>>().join("\n    ");
    format!("  line {}, expected\n    {}\n  and it was\n    {}", line + 1, at(expected), at(actual))
}

/// The scenario with its traces as they come out now.
fn play(text: &str) -> String {
    let mut world: Option<World> = None;
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let said = command(&mut world, line);
        if lines.peek() == Some(&"----") {
            while lines.next_if(|line| !line.is_empty()).is_some() {}
        }
        if !said.is_empty() {
            out.push_str("----\n");
            for line in said {
                out.push_str(&line);
                out.push('\n');
            }
        }
    }
    out
}

fn command(world: &mut Option<World>, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (verb, rest) = words.split_first().expect("a command");
    if *verb == "cluster" {
        *world = Some(cluster(rest));
        return Vec::new();
    }
    let world = world.as_mut().expect("a scenario begins with `cluster`");
    match *verb {
        "image" => image(world, rest),
        "service" => world_says(world, |world| service(world, rest)),
        "node" => world_says(world, |world| node(world, rest)),
        "run" => {
            let end = world.now + spec::duration(rest.first().expect("how long"));
            world_says(world, |world| {
                world.run_until(end);
                None
            })
        }
        "clock" => {
            let gap = spec::duration(rest.first().expect("how far"));
            world_says(world, |world| {
                world.step_clock(gap);
                None
            })
        }
        "leader" => world_says(world, |world| {
            world.new_leader();
            None
        }),
        "rebalance" => rebalance(world, rest),
        "show" => show(world, rest),
        other => panic!("a command: {other}"),
    }
}

/// What the command answered, then what followed from it.
fn world_says(world: &mut World, act: impl FnOnce(&mut World) -> Option<String>) -> Vec<String> {
    let answer = act(world);
    world.settle();
    world.check();
    answer.into_iter().chain(std::mem::take(&mut world.trace)).collect()
}

fn cluster(words: &[&str]) -> World {
    let (mut nodes, mut history, mut auto_rebalance) = (3, 5, false);
    for word in words {
        match word.split_once('=') {
            Some(("nodes", value)) => nodes = value.parse().expect("a number of nodes"),
            Some(("history", value)) => history = value.parse().expect("a number of tasks"),
            None if *word == "auto-rebalance" => auto_rebalance = true,
            Some(_) | None => panic!("an option of cluster: {word}"),
        }
    }
    let spec = ClusterSpec { task_history_limit: history, auto_rebalance, ..ClusterSpec::default() };
    let mut world = World::new(spec, nodes);
    world.listener = trace::listen;
    world.settle();
    world
}

fn image(world: &mut World, words: &[&str]) -> Vec<String> {
    let (name, options) = words.split_first().expect("the image's name");
    let mut image = Image::default();
    let mut after = std::time::Duration::from_secs(1);
    let mut code = None;
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("exit", value) => code = Some(value.parse().expect("an exit code")),
            ("after", value) => after = spec::duration(value),
            ("start", value) => image.start = Some(spec::duration(value)),
            ("prepare", value) => image.prepare = spec::duration(value),
            ("stop", value) => image.stop = spec::duration(value),
            ("late", value) => image.late = spec::duration(value),
            ("never", _) => image.start = None,
            ("refused", _) => image.refused = true,
            (other, _) => panic!("an option of image: {other}"),
        }
    }
    image.exit = code.map(|code| (after, code));
    world.agents.images.insert((*name).to_owned(), image);
    Vec::new()
}

fn service(world: &mut World, words: &[&str]) -> Option<String> {
    let [verb, name, options @ ..] = words else { panic!("service VERB NAME") };
    let stored = world.state.service_named(name).cloned();
    let changed = |change: &dyn Fn(&mut ServiceSpec)| {
        let service = stored.clone().expect("a service of this name");
        let mut spec = service.spec;
        change(&mut spec);
        Command::UpdateService { id: service.id, version: service.version, spec: Box::new(spec) }
    };
    let command = match *verb {
        "create" => {
            let mut spec = spec::base(name);
            options.iter().for_each(|word| spec::set(&mut spec, word));
            Command::CreateService { id: world.next_service_id(), spec: Box::new(spec) }
        }
        "update" => changed(&|spec| options.iter().for_each(|word| spec::set(spec, word))),
        "scale" => {
            let word = format!("replicas={}", options.first().expect("how many"));
            changed(&|spec| spec::set(spec, &word))
        }
        "rollback" => {
            let service = stored.expect("a service of this name");
            Command::RollbackService { id: service.id, version: service.version }
        }
        "pause" | "resume" | "promote" => {
            let service = stored.expect("a service of this name");
            let steer = match *verb {
                "pause" => Steer::Pause,
                "resume" => Steer::Resume,
                _ => Steer::Promote,
            };
            Command::SteerRollout { id: service.id, version: service.version, steer }
        }
        "rm" => Command::RemoveService { id: stored.expect("a service of this name").id },
        other => panic!("a verb of service: {other}"),
    };
    refusal(world.commit(command))
}

/// `dry`: the plan alone; `auto`: what the leader does by itself; a number: no more moves than that.
fn rebalance(world: &mut World, words: &[&str]) -> Vec<String> {
    let most = words.iter().find_map(|word| word.parse().ok()).unwrap_or(usize::MAX);
    let plan = if words.contains(&"auto") { world.rebalance_by_itself() } else { world.rebalance(most) };
    let said = trace::plan(&world.state, &plan);
    if words.contains(&"dry") {
        return said;
    }
    let followed = world_says(world, |world| refusal(world.move_tasks(&plan)));
    said.into_iter().chain(followed).collect()
}

fn refusal(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Rejected(rejection) => Some(format!("refused: {rejection}")),
        Outcome::Done { .. } | Outcome::Partly { .. } => None,
    }
}

fn node(world: &mut World, words: &[&str]) -> Option<String> {
    let [number, verb] = words else { panic!("node N VERB") };
    let id = node_id(number.parse().expect("a node's number"));
    match *verb {
        "down" => world.set_liveness(id, NodeState::Down),
        "up" => world.reconnect(id),
        "unknown" => world.set_liveness(id, NodeState::Unknown),
        "reboot" => {
            world.agents.reboot(id, world.now);
            world.reconnect(id);
        }
        "drain" => return update_node(world, id, |spec| spec.availability = Availability::Drain),
        "pause" => return update_node(world, id, |spec| spec.availability = Availability::Pause),
        "rm" => return refusal(world.remove_node(id)),
        "cut" => world.cut(id),
        "new" => {
            world.join(number.parse().expect("a node's number"));
            world.introduce(number.parse().expect("a node's number"), 4);
        }
        "engine-off" => world.describe(id, EngineHealth::Unavailable("its engine does not answer".to_owned())),
        "engine-on" => world.describe(id, EngineHealth::Ok),
        "active" => return update_node(world, id, |spec| spec.availability = Availability::Active),
        other => {
            let (key, value) = other.strip_prefix("label=").and_then(|label| label.split_once(':')).expect("a verb");
            return update_node(world, id, |spec| {
                spec.labels.insert(key.to_owned(), value.to_owned());
            });
        }
    }
    None
}

pub(crate) fn update_node(world: &mut World, id: NodeId, change: impl FnOnce(&mut NodeSpec)) -> Option<String> {
    let node = world.state.node(id)?;
    let (version, mut spec) = (node.version, node.spec.clone());
    change(&mut spec);
    refusal(world.commit(Command::UpdateNode { id, version, spec }))
}

fn show(world: &World, words: &[&str]) -> Vec<String> {
    let wanted = words.first().copied();
    let services = world.state.services().filter(|service| wanted.is_none_or(|name| service.spec.name == name));
    services.flat_map(|service| trace::show(world, service)).collect()
}
