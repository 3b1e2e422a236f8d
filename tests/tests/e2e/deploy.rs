//! What is shipped beside the binary.

use std::{path::Path, process::Command};

#[test]
fn install_sh_keeps_its_word() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/test-install.sh");
    // The scripts are the only ones of this workspace, and a host without a POSIX shell runs none of them.
    if !Path::new("/bin/sh").exists() {
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "install_sh_keeps_its_word needs /bin/sh");
        eprintln!("skipped install_sh_keeps_its_word: there is no /bin/sh");
        return;
    }
    let output = Command::new("/bin/sh").arg(script).output().expect("the script runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all checks passed"), "{said}");
}
