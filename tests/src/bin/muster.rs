//! The `muster` binary as the tests run it.

fn main() -> std::process::ExitCode {
    muster_cli::main()
}
