//! A small file system of a test's own, to be filled to the last byte: ext4 in a file, mounted.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::geteuid;

#[derive(Debug)]
pub struct SmallDisk {
    mounted: PathBuf,
    _image: tempfile::NamedTempFile,
}

/// None, said aloud, where nothing can be mounted; with `CI=true` that is a failure.
#[must_use]
pub fn present(test: &str) -> Option<()> {
    let is_there = |program: &str, version: &str| Command::new(program).arg(version).output().is_ok();
    if geteuid().is_root() && is_there("mkfs.ext4", "-V") && is_there("mount", "--version") && can_mount() {
        return Some(());
    }
    let why = "it mounts a file system of its own, for which it needs root, mkfs.ext4 and loop devices";
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{test} cannot run: {why}");
    eprintln!("skipped {test}: {why}");
    None
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path().join("disk");
    fs::create_dir(&at).expect("a folder");
    SmallDisk::mount(&at, 8).is_ok()
}

fn run(program: &str, args: &[&str], path: &Path, more: &[&Path]) -> io::Result<()> {
    let output = Command::new(program).args(args).arg(path).args(more).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))))
}

impl SmallDisk {
    /// On an empty folder.
    pub fn mount(at: &Path, mebibytes: u64) -> io::Result<Self> {
        let image = tempfile::Builder::new().prefix("muster-disk-").tempfile()?;
        image.as_file().set_len(mebibytes << 20)?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0"], image.path(), &[])?;
        run("mount", &["-o", "loop"], image.path(), &[at])?;
        let disk = Self { mounted: at.to_owned(), _image: image };
        fs::remove_dir(at.join("lost+found"))?;
        Ok(disk)
    }

    fn filler(&self) -> PathBuf {
        self.mounted.join("filler")
    }

    /// To the last byte.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        for bytes in [1 << 20, 4 << 10, 1] {
            let piece = vec![1; bytes];
            while filler.write_all(&piece).is_ok() {}
        }
        // What the kernel has not placed yet may not find a place.
        filler.sync_all().ok();
    }

    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the filler is ours");
        File::open(&self.mounted).and_then(|dir| dir.sync_all()).expect("the room is free");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // On the way out, perhaps of a failed test; a daemon that still holds it lets go of it later.
        drop(run("umount", &["-l"], &self.mounted, &[]));
        drop(fs::remove_dir(&self.mounted));
        if let Some(folder) = self.mounted.parent() {
            drop(fs::remove_dir_all(folder));
        }
    }
}
