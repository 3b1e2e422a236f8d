//! Docker Engine of one test host: in the host's network namespace, with a bridge, data and images of its own, and a
//! mount namespace, so that its mounts end with its processes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::TryStreamExt;
use muster_chaos::hosts::Hosts;
use muster_cli::demo::image;

use crate::{
    engine::{self, block_on},
    wait,
};

#[derive(Debug)]
pub struct HostEngine {
    folder: PathBuf,
    child: Child,
}

impl HostEngine {
    /// Started again on a host that was powered off, it finds the data it had.
    #[must_use]
    pub fn start(hosts: &Hosts, host: usize) -> Self {
        // Where the hosts look for processes in containers.
        let cgroup = hosts.namespace(host);
        let folder = hosts.folder().join(cgroup);
        let mut unshare = hosts.command(host, "unshare");
        fs::create_dir_all(&folder).expect("a folder for the engine");
        // Not the machine's own settings.
        fs::write(folder.join("engine.json"), "{}").expect("a settings file");
        // What an engine leaves that was killed.
        for left in ["engine.pid", "docker.sock"] {
            drop(fs::remove_file(folder.join(left)));
        }
        drop(fs::remove_dir_all(folder.join("exec")));
        let log = File::options().create(true).append(true).open(folder.join("engine.log")).expect("a log file");
        let child = unshare
            .args(["--mount", "--propagation", "private", "dockerd", "--config-file"])
            .arg(folder.join("engine.json"))
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("engine.pid"))
            .args(["-H", &format!("unix://{}", folder.join("docker.sock").display())])
            .args(["--storage-driver", &engine::storage_driver(), "--cgroup-parent", &format!("/{cgroup}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let mut engine = Self { folder, child };
        engine.wait_ready();
        engine
    }

    fn wait_ready(&mut self) {
        wait::until("the engine of a host to answer", || {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                panic!("dockerd ended ({status}): {}", self.log());
            }
            let docker = image::connect(&self.socket()).map_err(|error| error.to_string())?;
            block_on(async { docker.ping().await.map(drop).map_err(|error| error.to_string()) })
        });
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("engine.log")).unwrap_or_default()
    }

    /// Gives it an image of the machine's engine; it has the same id there.
    pub fn load(&self, image_name: &str) {
        block_on(async {
            let from = image::connect(Path::new(engine::SOCKET)).expect("a client for the machine's engine");
            let to = image::connect(&self.socket()).expect("a client for the host's engine");
            let saved: Vec<_> = from.export_image(image_name).try_collect().await.expect("the engine saves an image");
            let options = ImportImageOptionsBuilder::new().build();
            let archive = bollard::body_full(saved.concat().into());
            let loaded: Result<Vec<_>, _> = to.import_image(options, archive, None).try_collect().await;
            let there = to.inspect_image(image_name).await;
            assert!(there.is_ok(), "the engine of a host did not take {image_name}: {loaded:?}");
        });
    }
}

impl Drop for HostEngine {
    fn drop(&mut self) {
        // Its containers go with the host; here only the child is ended and waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
