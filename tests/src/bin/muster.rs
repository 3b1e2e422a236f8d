//! The `muster` binary as the tests run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = muster_cli::out::Out::process();
    let code = muster_cli::run(std::env::args_os(), &mut out, &muster_cli::surroundings::Process);
    ExitCode::from(code)
}
