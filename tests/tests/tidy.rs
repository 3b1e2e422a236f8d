//! The house style as a test: what can be checked by reading the sources is checked here, with a ratchet where it does
//! not hold yet. After TigerBeetle's `tidy.zig`.
//!
//! The sources are formatted, so a function ends at the first closing brace in the column of its first line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file longer than this holds more than one concept, unless it is named in [`LONG_FILES`].
const FILE_LINES_MAX: usize = 400;
/// A function longer than this does not fit a screen, unless it is named in [`LONG_FUNCTIONS`].
const FUNCTION_LINES_MAX: usize = 70;

/// File, the lines it may have, and why. The numbers only go down.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// `file:function`, the lines it may have, and why. The numbers only go down.
const LONG_FUNCTIONS: &[(&str, usize, &str)] = &[];

/// What must not stand anywhere in the sources, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("todo!(", "finish it, or leave it out"),
    ("unimplemented!(", "finish it, or leave it out"),
    ("#[ignore", "a test that is not run proves nothing"),
    ("dbg!(", "use tracing"),
    ("mod util", "name what it holds"),
    ("mod common", "name what it holds"),
];

/// Words of other systems, or of none. Ours are in GLOSSARY.md.
const BANNED_WORDS: &[(&str, &str)] =
    &[("pod", "task"), ("pods", "tasks"), ("helper", "name what it does"), ("helpers", "name what they do")];

/// What the core must not know, beyond what clippy checks there.
const BANNED_IN_CORE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "tonic",
    "openraft",
    "SystemTime",
    "Instant",
    "HashMap",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "rand::",
];

/// What a manager takes from outside comes through `manager/src/outside.rs`; here is what goes past it, and what to use.
const BANNED_IN_MANAGER: &[(&str, &str)] = &[
    ("SystemTime", "the clock of `Outside`"),
    ("WallClock", "the clock of `Outside`"),
    ("use rand::", "the chance of `Outside`"),
    ("rand::random", "the chance of `Outside`"),
    ("rand::rng", "the chance of `Outside`"),
    ("SystemRandom", "the chance of `Outside`, or for what is secret an exception here"),
    ("TcpStream", "the network of `Outside`, or `Connect`"),
    ("TcpListener", "what the daemon hands in"),
    ("UdpSocket", "the network of `Outside`"),
    ("std::env", "`Config`"),
    ("fs::", "the disk of `Outside`"),
    ("Command::new(", "what the daemon hands in"),
];

/// Folder or file, what may stand there all the same, and why. The list only gets shorter.
const OUTSIDE_OF_MANAGER: &[(&str, &[&str], &str)] = &[
    ("manager/src/clock.rs", &["SystemTime", "WallClock"], "the host's clock itself"),
    ("manager/src/outside.rs", &["WallClock"], "puts the host's together"),
    ("manager/src/outside/random.rs", &["use rand::", "rand::rng"], "the host's chance itself"),
    ("manager/src/outside/network.rs", &["TcpStream"], "the host's network itself"),
    ("manager/src/storage", &["fs::"], "the host's disk itself"),
    ("manager/src/recovery.rs", &["fs::"], "changes a folder that no manager is open on"),
    ("manager/src/ca/authority.rs", &["SystemRandom"], "serial numbers, which nobody may foresee"),
    ("manager/src/ca/cluster_key.rs", &["SystemRandom"], "keys and nonces: secret"),
    ("manager/src/ca/dial.rs", &["TcpStream"], "the daemon's connections, which it hands in as `Connect`"),
];

/// Crate, and the crates of ours that it must not depend on.
const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str])] = &[
    ("proto", &["muster-core", "muster-manager", "muster-agent", "muster-cli"]),
    ("manager/core", &["muster-manager", "muster-agent", "muster-cli", "tokio", "tonic", "rand", "openraft"]),
    ("manager", &["muster-agent", "muster-cli", "bollard"]),
    ("agent", &["muster-core", "muster-manager", "muster-cli", "openraft"]),
    ("cli", &["openraft"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry of it").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// Path from the root, and text, in order of path.
fn files(ending: &str) -> BTreeMap<String, String> {
    let mut found = Vec::new();
    walk(&root(), ending, &mut found);
    let relative = |path: &Path| path.strip_prefix(root()).expect("below the root").display().to_string();
    found.iter().map(|path| (relative(path), fs::read_to_string(path).expect("a text file"))).collect()
}

/// The lines of a file before its unit tests.
fn product(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
}

/// Tests in files of their own.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/tests/")
        || path.contains("/tests/")
        || path.contains("/testing/")
        || path.ends_with("/tests.rs")
}

fn verdict(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn files_hold_one_concept() {
    let mut problems = Vec::new();
    // A file of tests may list as many cases as there are.
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !is_test(path)) {
        let lines = product(&text).len();
        let allowed =
            LONG_FILES.iter().find(|(long, ..)| *long == path).map_or(FILE_LINES_MAX, |(_, allowed, _)| *allowed);
        if lines > allowed {
            problems.push(format!("{path} has {lines} lines before its tests, {allowed} are allowed"));
        } else if allowed > FILE_LINES_MAX && lines <= FILE_LINES_MAX {
            problems.push(format!("{path} has only {lines} lines now: take it out of LONG_FILES"));
        }
    }
    verdict(problems);
}

#[test]
fn functions_fit_a_screen() {
    let mut problems = Vec::new();
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !is_test(path)) {
        for (name, lines) in functions(&product(&text)) {
            let key = format!("{path}:{name}");
            let allowed = LONG_FUNCTIONS
                .iter()
                .find(|(long, ..)| *long == key)
                .map_or(FUNCTION_LINES_MAX, |(_, allowed, _)| *allowed);
            if lines > allowed {
                problems.push(format!("{key} has {lines} lines, {allowed} are allowed"));
            }
        }
    }
    verdict(problems);
}

/// Name and length of each function.
fn functions(lines: &[&str]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let heads = ["", "pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
        if !before.split_whitespace().all(|word| heads.contains(&word)) {
            continue;
        }
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = format!("{}}}", " ".repeat(indent));
        let body = lines[number..].iter().position(|line| {
            *line == end || line.trim_end().ends_with(';') && line.len() - line.trim_start().len() == indent
        });
        if let Some(length) = body {
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = files(".rs")
        .into_iter()
        .filter(|(_, text)| !text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 12));
    verdict(silent.map(|(path, _)| format!("{path} does not begin with a `//!` sentence")).collect());
}

#[test]
fn banned_text_stays_out() {
    let mut problems = Vec::new();
    let this = "tests/tests/tidy.rs";
    for (path, text) in files(".rs").into_iter().chain(files(".md")).filter(|(path, _)| path != this) {
        for (number, line) in text.lines().enumerate() {
            for (banned, instead) in BANNED.iter().filter(|(banned, _)| line.contains(banned) && path.ends_with(".rs"))
            {
                problems.push(format!("{path}:{}: `{banned}`: {instead}", number + 1));
            }
            let words = line.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase);
            for word in words {
                let found = BANNED_WORDS.iter().find(|(banned, _)| *banned == word);
                // A sentence that sets our words against those of another system may name theirs.
                if let Some((banned, instead)) = found.filter(|_| path != "GLOSSARY.md" && path != "CONTRIBUTING.md") {
                    problems.push(format!("{path}:{}: the word {banned:?}: {instead}", number + 1));
                }
            }
        }
    }
    verdict(problems);
}

#[test]
fn core_knows_no_runtime_clock_or_chance() {
    let mut problems = Vec::new();
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("manager/core/src/")) {
        for (number, line) in product(&text).iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for banned in BANNED_IN_CORE.iter().filter(|banned| line.contains(**banned)) {
                problems.push(format!("{path}:{}: `{banned}` in the core", number + 1));
            }
        }
    }
    verdict(problems);
}

#[test]
fn a_manager_takes_what_is_outside_through_its_traits() {
    let mut problems = Vec::new();
    let mut unused: Vec<(&str, &str)> =
        OUTSIDE_OF_MANAGER.iter().flat_map(|(place, texts, _)| texts.iter().map(|text| (*place, *text))).collect();
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| path.starts_with("manager/src/") && !is_test(path))
    {
        for (number, line) in product(&text).iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for (banned, instead) in BANNED_IN_MANAGER.iter().filter(|(banned, _)| line.contains(*banned)) {
                let excepted = OUTSIDE_OF_MANAGER
                    .iter()
                    .find(|(place, texts, _)| path.starts_with(*place) && texts.contains(banned));
                match excepted {
                    Some((place, ..)) => unused.retain(|exception| exception != &(*place, *banned)),
                    None => problems.push(format!("{path}:{}: `{banned}`: use {instead}", number + 1)),
                }
            }
        }
    }
    problems
        .extend(unused.iter().map(|(place, text)| format!("{place} needs no `{text}`: take it out of the exceptions")));
    verdict(problems);
}

#[test]
fn dependencies_point_one_way() {
    let mut problems = Vec::new();
    for (folder, forbidden) in FORBIDDEN_DEPENDENCIES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for name in
            forbidden.iter().filter(|name| dependencies.lines().any(|line| line.starts_with(&format!("{name}."))))
        {
            problems.push(format!("{folder}/Cargo.toml depends on {name}"));
        }
    }
    verdict(problems);
}

#[test]
fn tests_wait_on_conditions() {
    let mut problems = Vec::new();
    for (path, text) in files(".rs") {
        let lines: Vec<&str> = text.lines().collect();
        let tested = if is_test(&path) { 0 } else { product(&text).len() };
        // The one place that polls, with a deadline; and the benchmarks, which measure spans of time.
        if path == "tests/src/wait.rs" || path == "tests/tests/tidy.rs" || path.starts_with("tests/src/bin/bench/") {
            continue;
        }
        for (number, line) in lines.iter().enumerate().skip(tested).filter(|(_, line)| line.contains("thread::sleep")) {
            problems.push(format!("{path}:{}: a test that sleeps: {}", number + 1, line.trim()));
        }
    }
    verdict(problems);
}

/// Crates that `deny.toml` bans are not in the tree, also where cargo-deny is not installed.
#[test]
fn banned_crates_stay_out() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let banned = ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls", "serde_yaml", "sled"];
    let found = banned.iter().filter(|name| lock.contains(&format!("name = \"{name}\"")));
    let mut problems: Vec<String> = found.map(|name| format!("Cargo.lock holds {name}")).collect();
    if !lock.contains("name = \"openraft\"\nversion = \"0.9.25\"") {
        problems.push("openraft is not at 0.9.25, the version that was tried for this use".to_owned());
    }
    verdict(problems);
}

/// ARCHITECTURE.md is a map: what it names must be there.
#[test]
fn the_map_names_what_exists() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let quoted = map.split('`').skip(1).step_by(2);
    let paths =
        quoted.filter(|text| text.contains('/') && text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c)));
    let missing = paths.filter(|path| !path.starts_with('/') && !root().join(path).exists());
    verdict(missing.map(|path| format!("ARCHITECTURE.md names `{path}`, which is not there")).collect());
}
