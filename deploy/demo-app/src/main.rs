//! The small HTTP app that the demo, the examples and the tests run in containers. Standard library only, one file:
//! the `muster` binary carries it, linked statically, so that an image holds nothing but this program.
//!
//!     demo-app                serve HTTP on $PORT (8000)
//!     demo-app check          exit 0 if GET /healthz on this container answers 200: a health check without a shell
//!     demo-app exit CODE      say so and exit
//!     demo-app alloc MIB      take and touch that much memory, then wait to be told to stop
//!
//! `GET /` answers with the version and the host's name, `/healthz` says whether it is ready, `/slow?ms=N` answers
//! after a pause, `/exit?code=N` and `/alloc?mib=N` misbehave on demand.
//!
//! Environment: `VERSION` (what `/` says), `READY_AFTER_MS` (`/healthz` fails until then), `UNHEALTHY=1` (`/healthz`
//! always fails), `EXIT_AFTER_MS` with `EXIT_CODE`, `IGNORE_TERM=1`.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::exit,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

const DEFAULT_PORT: u16 = 8000;
const MIB: usize = 1 << 20;
/// How often the main thread looks whether it was told to stop: a signal handler may do no more than set a flag.
const STOP_POLL: Duration = Duration::from_millis(10);
/// Requests under way at the stop signal get this long to be answered.
const STOP_GRACE: Duration = Duration::from_secs(8);

static STOPPING: AtomicBool = AtomicBool::new(false);
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

mod signals {
    //! PID 1 ignores SIGTERM unless it has a handler, and the standard library has no call to set one.
    #![allow(unsafe_code)]

    use std::sync::atomic::Ordering;

    const SIGINT: i32 = 2;
    const SIGTERM: i32 = 15;

    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    }

    extern "C" fn stop(_number: i32) {
        super::STOPPING.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stop_on_term() {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe {
            signal(SIGTERM, stop);
            signal(SIGINT, stop);
        }
    }
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

fn port() -> u16 {
    number("PORT").unwrap_or(DEFAULT_PORT)
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

fn allocate(mib: usize) {
    let mut block = vec![0u8; mib * MIB];
    for page in block.chunks_mut(4096) {
        page[0] = 1;
    }
    println!("holding {mib} MiB");
    std::mem::forget(block);
}

/// The value of `key` in the query of `path`.
fn query(path: &str, key: &str) -> Option<u64> {
    let (_, query) = path.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

fn answer(path: &str, started: Instant) -> (u16, String) {
    let route = path.split('?').next().unwrap_or(path);
    match route {
        "/" => {
            let version = env::var("VERSION").unwrap_or_else(|_| "unversioned".to_owned());
            (200, format!("version {version} on {}\n", hostname()))
        }
        "/healthz" => {
            let ready_after = Duration::from_millis(number("READY_AFTER_MS").unwrap_or(0));
            if env::var_os("UNHEALTHY").is_some() {
                (503, "told to be unhealthy\n".to_owned())
            } else if started.elapsed() < ready_after {
                (503, "warming up\n".to_owned())
            } else {
                (200, "ok\n".to_owned())
            }
        }
        "/slow" => {
            thread::sleep(Duration::from_millis(query(path, "ms").unwrap_or(1000)));
            (200, "slowly\n".to_owned())
        }
        "/exit" => {
            println!("told to exit over HTTP");
            exit(i32::try_from(query(path, "code").unwrap_or(0)).unwrap_or(1));
        }
        "/alloc" => {
            allocate(usize::try_from(query(path, "mib").unwrap_or(1)).unwrap_or(1));
            (200, "allocated\n".to_owned())
        }
        _ => (404, "no such page\n".to_owned()),
    }
}

/// Serves one connection until the client closes it, asks for that, or the app stops.
fn serve(stream: TcpStream, started: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        IN_FLIGHT.fetch_add(1, Ordering::SeqCst);
        let served = one_request(&first, &mut reader, &mut writer, started);
        IN_FLIGHT.fetch_sub(1, Ordering::SeqCst);
        if !served? {
            return Ok(());
        }
    }
}

/// Whether the connection stays open.
fn one_request(
    first: &str,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
    started: Instant,
) -> io::Result<bool> {
    let mut keep_alive = first.trim_end().ends_with("HTTP/1.1");
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(length) = line.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().unwrap_or(0);
        } else if line == "connection: close" {
            keep_alive = false;
        }
    }
    io::copy(&mut reader.take(body_bytes), &mut io::sink())?;
    let (status, body) = answer(first.split(' ').nth(1).unwrap_or("/"), started);
    keep_alive &= !STOPPING.load(Ordering::SeqCst);
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let reason = if status == 200 { "OK" } else { "Not OK" };
    let response = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
        body.len()
    );
    writer.write_all(response.as_bytes())?;
    Ok(keep_alive)
}

fn listen() -> io::Result<()> {
    let started = Instant::now();
    let listener = TcpListener::bind(("0.0.0.0", port()))?;
    println!("listening on port {}", port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // An error here is the client's: it went away.
            thread::spawn(move || serve(stream, started).ok());
        }
    });
    let exit_after = number("EXIT_AFTER_MS").map(Duration::from_millis);
    while !STOPPING.load(Ordering::SeqCst) {
        if exit_after.is_some_and(|after| started.elapsed() >= after) {
            println!("exiting as told");
            exit(number("EXIT_CODE").unwrap_or(0));
        }
        thread::sleep(STOP_POLL);
    }
    let told = Instant::now();
    while IN_FLIGHT.load(Ordering::SeqCst) > 0 && told.elapsed() < STOP_GRACE {
        thread::sleep(STOP_POLL);
    }
    println!("stopped");
    Ok(())
}

fn check() -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port()))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    println!("{}", response.lines().last().unwrap_or_default());
    Ok(response.starts_with("HTTP/1.1 200 "))
}

fn wait_for_stop() {
    while !STOPPING.load(Ordering::SeqCst) {
        thread::sleep(STOP_POLL);
    }
}

fn run(args: &[String]) -> io::Result<i32> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => listen().map(|()| 0),
        ["check"] => check().map(|healthy| i32::from(!healthy)),
        ["exit", code] => {
            println!("exiting with code {code}");
            Ok(code.parse().unwrap_or(1))
        }
        ["alloc", mib] => {
            allocate(mib.parse().unwrap_or(1));
            wait_for_stop();
            Ok(0)
        }
        _ => {
            eprintln!("demo-app: usage: demo-app [check | exit CODE | alloc MIB]");
            Ok(2)
        }
    }
}

fn main() {
    if env::var_os("IGNORE_TERM").is_none() {
        signals::stop_on_term();
    }
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => exit(code),
        Err(error) => {
            eprintln!("demo-app: {error}");
            exit(1);
        }
    }
}
