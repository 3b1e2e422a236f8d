//! What common commands cost from end to end, for orientation: nothing to compare them with runs here.

use muster_tests::{
    daemon::{Daemon, Engine},
    engine::Images,
};

use crate::{service, spread};

const REPLICAS: usize = 20;
const UPDATE: [&str; 4] = ["--update-parallelism", "5", "--update-monitor", "100ms"];

pub(crate) fn run(program: &str, rounds: usize) {
    let images = Images::make(&["1.0.0", "2.0.0"]);
    let (old, new) = (images.name("1.0.0"), images.name("2.0.0"));
    let daemon = Daemon::cluster(program, Engine::Docker);
    let (mut one, mut many, mut update) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(service::create(&daemon, &old, 1));
        service::remove(&daemon);
        many.push(service::create(&daemon, &old, REPLICAS));
        update.push(service::update(&daemon, &new, &UPDATE));
        service::remove(&daemon);
    }
    println!("commands, from the start to the end of what they ask for");
    println!("  create 1                                   {}", spread(&one, "s"));
    println!("  create {REPLICAS}                                  {}", spread(&many, "s"));
    println!("  update {REPLICAS}, parallelism 5, monitor 100 ms   {}", spread(&update, "s"));
}
