//! Hosts for tests: network namespaces on one bridge, each with an address of its own, that can be cut off, made deaf
//! to one another in one direction, and powered off.
//!
//! Names and addresses are unique to each run. What was made is removed by another process, which waits for the end of
//! this one: so it is removed however this one ends. Deliberately not known here: anything about Muster.

mod guardian;

use std::{
    net::Ipv4Addr,
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};

use nix::unistd::geteuid;

use self::guardian::Guardian;

/// Of the first host in its network; the bridge has 1.
const FIRST: u8 = 11;
/// A network has room for more, a machine has not.
const HOSTS_MAX: usize = 64;

#[derive(Debug)]
pub struct Hosts {
    run: String,
    /// 10.A.B.0/24
    network: [u8; 2],
    hosts: Vec<Host>,
    guardian: Guardian,
}

#[derive(Debug)]
struct Host {
    namespace: String,
    /// The end of its cable that is on the bridge.
    cable: String,
}

/// None, said aloud, where no hosts can be made; with `CI=true` that is a failure.
#[must_use]
pub fn present(test: &str) -> Option<()> {
    let answers =
        |program: &str, version: &str| Command::new(program).arg(version).output().is_ok_and(|o| o.status.success());
    let missing: Vec<&str> = [("ip", "-V"), ("iptables", "-V"), ("nsenter", "--version")]
        .into_iter()
        .filter(|(program, version)| !answers(program, version))
        .map(|(program, _)| program)
        .collect();
    if missing.is_empty() && geteuid().is_root() {
        return Some(());
    }
    let why = "it makes network namespaces, for which it needs root, ip, iptables and nsenter";
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{test} cannot run: {why}; missing: {missing:?}");
    eprintln!("skipped {test}: {why}; missing: {missing:?}");
    None
}

impl Hosts {
    #[must_use]
    pub fn make(count: usize) -> Self {
        assert!((1..=HOSTS_MAX).contains(&count), "between 1 and {HOSTS_MAX} hosts, not {count}");
        let id = rand::random::<u16>();
        let [high, low] = id.to_be_bytes();
        let run = format!("muster-{id:04x}");
        let guardian = Guardian::watch(&run, &bridge(&run));
        let mut hosts = Self { run, network: [high | 0x80, low], hosts: Vec::new(), guardian };
        hosts.make_bridge();
        for number in 0..count {
            let host = hosts.make_host(number);
            hosts.hosts.push(host);
        }
        hosts
    }

    fn make_bridge(&self) {
        let bridge = bridge(&self.run);
        let [a, b] = self.network;
        done(&["ip", "link", "add", &bridge, "type", "bridge"]);
        done(&["ip", "addr", "add", &format!("10.{a}.{b}.1/24"), "dev", &bridge]);
        done(&["ip", "link", "set", &bridge, "up"]);
        // Docker has this machine's kernel drop what is forwarded and not its own, on bridges too.
        done(&["iptables", "-w", "-I", "FORWARD", "-i", &bridge, "-o", &bridge, "-j", "ACCEPT"]);
    }

    fn make_host(&self, number: usize) -> Host {
        let (namespace, cable) = (format!("{}-{number}", self.run), format!("v{}-{number}", &self.run[7..]));
        let inside = |args: &[&str]| done(&[&["ip", "-n", &namespace], args].concat());
        let [a, b] = self.network;
        done(&["ip", "netns", "add", &namespace]);
        done(&["ip", "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        done(&["ip", "link", "set", &cable, "master", &bridge(&self.run), "up"]);
        inside(&["link", "set", "lo", "up"]);
        inside(&["addr", "add", &format!("{}/24", self.address(number)), "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["route", "add", "default", "via", &format!("10.{a}.{b}.1")]);
        Host { namespace, cable }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.hosts.len()
    }

    #[must_use]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        let [a, b] = self.network;
        let number = u8::try_from(host).expect("few hosts");
        Ipv4Addr::new(10, a, b, FIRST + number)
    }

    /// As `ip netns` and `nsenter` name it.
    #[must_use]
    pub fn namespace(&self, host: usize) -> &str {
        &self.hosts[host].namespace
    }

    /// A folder of the run's own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.guardian.folder()
    }

    /// A command on a host, not yet started.
    #[must_use]
    pub fn command(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(host))).arg(program);
        command
    }

    /// Pulls the cable.
    pub fn cut(&self, host: usize) {
        done(&["ip", "link", "set", &self.hosts[host].cable, "down"]);
    }

    pub fn heal(&self, host: usize) {
        done(&["ip", "link", "set", &self.hosts[host].cable, "up"]);
    }

    /// Pulls the cable and plugs it in again after that long, which is the fault itself and no waiting.
    pub fn cut_for(&self, host: usize, span: Duration) {
        self.cut(host);
        thread::sleep(span);
        self.heal(host);
    }

    /// From now on one host hears nothing of the other, which still hears it.
    pub fn deafen(&self, host: usize, to: usize) {
        let rule = ["-A", "INPUT", "-s", &self.address(to).to_string(), "-j", "DROP"].map(str::to_owned);
        self.iptables(host, &rule);
    }

    /// Takes back every [`Hosts::deafen`] of this host.
    pub fn hear(&self, host: usize) {
        self.iptables(host, &["-F", "INPUT"].map(str::to_owned));
    }

    fn iptables(&self, host: usize, args: &[String]) {
        let output = self.command(host, "iptables").arg("-w").args(args).output().expect("iptables runs");
        assert!(output.status.success(), "iptables {args:?} on host {host}: {output:?}");
    }

    /// As a power failure would: off the network at once, then every process of the host is killed, those in its
    /// containers too. Whoever started a process is still to wait for it.
    pub fn power_off(&self, host: usize) {
        self.cut(host);
        guardian::kill_all(self.namespace(host));
    }
}

/// An interface's name has 15 characters at most.
fn bridge(run: &str) -> String {
    format!("b{}", run.trim_start_matches("muster-"))
}

/// Runs a command that must succeed.
fn done(words: &[&str]) {
    let output: Output = Command::new(words[0]).args(&words[1..]).output().expect("the program is there");
    assert!(output.status.success(), "{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}
