//! Docker Engine stopped and started again underneath a daemon.

use muster_tests::{
    daemon::{Daemon, Engine},
    private_engine::{self, PrivateEngine},
    wait,
};

use crate::MUSTER;

fn make_image(engine: &PrivateEngine, name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let docker = muster_cli::demo::image::connect(&engine.socket()).unwrap();
        muster_cli::demo::image::build(&docker, name).await.unwrap();
    });
}

#[test]
fn services_come_back_with_the_engine() {
    let Some(()) = private_engine::present("services_come_back_with_the_engine") else { return };
    let mut engine = PrivateEngine::start();
    make_image(&engine, "app:1");
    let daemon = Daemon::cluster(MUSTER, Engine::DockerAt(engine.socket()));
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "2", "app:1"]);

    engine.stop();
    wait::until("the node to say that its engine is away", || {
        let info = daemon.ok(&["info"]);
        if info.contains("Engine trouble") { Ok(()) } else { Err(info) }
    });
    // Still manageable; what cannot run says what it waits for.
    daemon.ok(&["service", "scale", "--detach", "web=3"]);
    wait::until("the new task to say what it waits for", || {
        let shown = daemon.ok(&["service", "ps", "web"]);
        let said = shown.contains("engine unavailable: Docker Engine") && !shown.contains("unavailable: engine");
        if said { Ok(()) } else { Err(shown) }
    });

    engine.restart();
    daemon.wait_running("web", 3);
    daemon.ok(&["leave", "--force"]);
}
