//! Compiles the demo app into one static program that the binary carries: an image made of it holds nothing else, so
//! the demo needs no registry and no network.

use std::{env, path::Path, process::Command};

const SOURCE: &str = "../deploy/demo-app/src/main.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"));
    let output = Path::new(&variable("OUT_DIR")).join("demo-app");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-name", "demo_app", "--crate-type", "bin"])
        .args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=+crt-static"])
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(&output)
        .arg(SOURCE)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "rustc could not link {SOURCE} statically ({status}); on Debian the static C library is in libc6-dev, on \
             Fedora in glibc-static"
        ),
        Err(error) => panic!("cannot run rustc for {SOURCE}: {error}"),
    }
}
