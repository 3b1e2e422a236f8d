//! Clients of a service of which one task was on a host that lost its power. The tasks are simulated, and what answers
//! for each is the demo app, run on its host.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use muster_chaos::hosts::{self, Hosts};
use muster_cli::demo::image;
use muster_tests::{cluster::Cluster, daemon::Engine, wait};

use crate::MUSTER;

const PUBLISHED: u16 = 8080;
const WORKER: usize = 3;
/// Far longer than a client is held; only a request that is lost meets it.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

struct App(Child);

impl App {
    fn start(hosts: &Hosts, host: usize) -> Self {
        let path = hosts.folder().join("demo-app");
        if !path.exists() {
            fs::write(&path, image::program()).expect("the app is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the app may run");
        }
        let mut command = hosts.command(host, path.to_str().expect("a path of text"));
        command.env("VERSION", format!("on-{host}")).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("the app starts"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // It may have gone with its host.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request that does not end, and says why it came to an end all the same.
    fn upload(mut self, begun: &mpsc::Sender<()>) -> io::Error {
        let stream = self.0.get_mut();
        let head = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000000000\r\n\r\n";
        let mut sent = stream.write_all(head.as_bytes());
        begun.send(()).expect("the test waits for it");
        while sent.is_ok() {
            sent = stream.write_all(&[b'x'; 1 << 16]);
        }
        sent.expect_err("it went on until it failed")
    }

    /// The host that answered.
    fn ask(&mut self, request: &str) -> io::Result<String> {
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut first) = (0, String::new());
        self.0.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().map_err(io::Error::other)?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        if !first.contains(" 200 ") {
            return Err(io::Error::other(first));
        }
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        body.split(' ').nth(1).map(str::to_owned).ok_or_else(|| io::Error::other(body.clone()))
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn clients_of_a_host_without_power_are_served_elsewhere() {
    let Some(()) = hosts::present("clients_of_a_host_without_power") else { return };
    let hosts = Hosts::make(4);
    let mut cluster = Cluster::on(MUSTER, &hosts, &Engine::Sim, 3);
    cluster.wait_ready(0);
    let _apps: Vec<App> = (0..hosts.count()).map(|host| App::start(&hosts, host)).collect();
    let publish = format!("{PUBLISHED}:{}", image::PORT);
    let create = ["service", "create", "--quiet", "--name", "web", "--mode", "global", "-p", &publish];
    cluster[0].ok(&[&create[..], &["--env", "MUSTER_SIM_ADDRESS=127.0.0.1", "sim:1"]].concat());
    cluster[0].wait_running("web", hosts.count());

    let ingress: SocketAddr = (hosts.address(0), PUBLISHED).into();
    let dead = format!("on-{WORKER}");
    // Connections go to whoever has the fewest, so that all are held until there are two of the worker's.
    let (mut of_worker, mut of_others) = (Vec::new(), Vec::new());
    let (mut kept, uploading) = wait::until("two clients of the worker's task", || {
        let mut client = Client::connect(ingress).map_err(|error| error.to_string())?;
        let by = client.ask(GET).map_err(|error| error.to_string())?;
        if by == dead {
            of_worker.push(client)
        } else {
            of_others.push(client)
        }
        if of_worker.len() == 2 { of_worker.pop().zip(of_worker.pop()).ok_or(by) } else { Err(by) }
    });
    let (begun, has_begun) = mpsc::channel();
    let upload = thread::spawn(move || uploading.upload(&begun));
    has_begun.recv().expect("the upload begins");
    hosts.power_off(WORKER);
    cluster[WORKER].kill();
    let node = cluster[WORKER].node_id();
    wait::until("the node to be down, and left out", || {
        let list = fs::read_to_string(cluster[0].data_dir().join("agent/ingress.json")).unwrap_or_default();
        if list.contains(&node) { Err(list) } else { Ok(()) }
    });
    // A request that must not be repeated, on a connection that has not noticed anything.
    let by = kept.ask(POST).expect("an answer to the first request after that");
    assert_ne!(by, dead);
    let ended = upload.join().expect("no panic");
    assert_ne!(
        ended.kind(),
        io::ErrorKind::WouldBlock,
        "bytes wait for a dead host, and the client with them: {ended}"
    );
    for _ in 0..20 {
        let by = Client::connect(ingress).and_then(|mut client| client.ask(GET)).expect("an answer");
        assert_ne!(by, dead);
    }
}
