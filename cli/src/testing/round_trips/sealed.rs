//! Backups: made, refused, restored.

use std::{fs, path::Path};

use expect_test::expect;
use muster_proto::v1;
use ring::digest::{SHA256, digest};

use super::super::{
    Fixed,
    fake::{Ran, World, run, run_within},
};
use super::{shown, world};

/// Whole, as far as anybody looks who does not restore it.
fn content() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..149_968).map(|at: u32| (at * 7 % 251) as u8).collect();
    bytes.extend(digest(&SHA256, &bytes).as_ref());
    bytes
}

fn knowing() -> World {
    World { backup: content(), ..world() }
}

/// With the folder's name taken out.
fn told(ran: &Ran, folder: &Path) -> String {
    shown(ran).replace(&folder.display().to_string(), "DIR")
}

fn with_passphrase(passphrase: &str, world: World, line: &str) -> Ran {
    run_within(&Fixed::default().variable("MUSTER_PASSPHRASE", passphrase), world, line)
}

#[test]
fn a_backup_is_made_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.backup");
    let shown_file = file.display();
    let ran = with_passphrase("correct horse", knowing(), &format!("backup {shown_file}"));
    expect![[r#"
        the cluster is in DIR/c.backup (146.6KiB); `muster restore DIR/c.backup` on a host in no cluster goes on from there
        exit code 0
    "#]].assert_eq(&told(&ran, folder.path()));

    let ran = with_passphrase("battery staple", knowing(), &format!("backup {shown_file}"));
    expect![[r#"
        stderr: muster: DIR/c.backup exists already and is kept; name another file, or replace it with --force
        exit code 1
    "#]]
    .assert_eq(&told(&ran, folder.path()));

    let none = World { managers: vec!["10.0.0.9:7377".to_owned()], ..World::default() };
    let restore = format!("restore --advertise-addr 10.0.0.9 {shown_file}");
    let typed = Fixed::default().answers(&["correct horse"]);
    let ran = run_within(&typed, none.clone(), &restore);
    expect![[r#"
        cluster c100000000000000000000000 goes on from the backup, with 2 services and 3 nodes: this node (n900000000000000000000000) is its only manager, at 10.0.0.9:7377

        to add a manager to this cluster, run on its host:

            muster join --token MST-1-role_manager 10.0.0.9:7377

        exit code 0
    "#]].assert_eq(&told(&ran, folder.path()));
    let [settings, rest @ ..] = ran.world.restored.as_slice() else { panic!("nothing was sent") };
    assert_eq!((settings.advertise_addr.as_deref(), settings.bytes.len()), (Some("10.0.0.9"), 0));
    let sent: Vec<u8> = rest.iter().flat_map(|message| message.bytes.clone()).collect();
    assert!(sent == content());

    let ran = run(none.clone(), &restore);
    assert!(ran.code == 1 && ran.stderr.contains("there is no terminal to ask"), "{}", ran.stderr);
    let ran = with_passphrase("battery staple", none, &restore);
    expect![[r#"
        stderr: muster: cannot restore DIR/c.backup: the passphrase is not the one it was sealed with; try again with the right one
        exit code 1
    "#]].assert_eq(&told(&ran, folder.path()));
    assert_eq!(ran.world.restored, Vec::<v1::RestoreRequest>::new());
}

#[test]
fn a_passphrase_is_typed_twice_and_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("backup {}", folder.path().join("c.backup").display());
    let typed = |answers: &[&str]| run_within(&Fixed::default().answers(answers), knowing(), &line);
    for (answers, said) in
        [(["correct horse", "correct house"].as_slice(), "the two differ"), (["horse"].as_slice(), "too short")]
    {
        let ran = typed(answers);
        assert!(ran.code == 1 && ran.stderr.contains(said), "{}", ran.stderr);
        assert_eq!(ran.world.backups_asked, 0, "no stream waits for who types");
    }
    let ran = run(World { unavailable_left: 1, ..knowing() }, &line);
    assert!(ran.code == 1 && ran.stderr.contains("no leader"), "nobody types for nothing: {}", ran.stderr);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(typed(&["correct horse", "correct horse"]).code, 0);
}

#[test]
fn files_with_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.backup");
    let surroundings = Fixed::default()
        .file("/key", &"k".repeat(32))
        .file("/other", &"o".repeat(32))
        .file("/short", "k")
        .file("/passphrase", "correct horse\n")
        .file("/empty", "\n");
    let at = |line: &str| run_within(&surroundings, knowing(), &format!("{line} {}", file.display()));
    for (line, code, said) in [
        ("backup --key-file /none", 1, "cannot read /none"),
        ("backup --key-file /short", 1, "fewer than 32 bytes; make one with `head -c 32 /dev/urandom > /short`"),
        ("backup --passphrase-file /empty", 1, "the first line of /empty is empty"),
        ("backup --passphrase-file /passphrase --key-file /key", 2, "cannot be used with"),
        ("backup --key-file /key", 0, ""),
        ("restore", 1, "sealed with a key file"),
        ("restore --passphrase-file /passphrase", 1, "sealed with a key file"),
        ("restore --key-file /other", 1, "the key file is not the one"),
        ("restore --key-file /short", 1, "no backup was sealed with it as it is; name the one that was used"),
        ("restore --key-file /key", 0, ""),
        ("backup --force --passphrase-file /passphrase", 0, ""),
        ("restore --key-file /key", 1, "sealed with a passphrase"),
        ("restore --passphrase-file /passphrase", 0, ""),
    ] {
        let ran = at(line);
        assert!(ran.code == code && ran.stderr.contains(said), "{line}: {}", ran.stderr);
        assert_eq!(ran.world.restored.is_empty(), !(code == 0 && line.starts_with("restore")), "{line}");
    }
}

/// To make a key of a passphrase takes its time.
#[test]
fn a_host_that_cannot_take_a_backup_says_so_before_it_asks_for_the_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.backup");
    assert_eq!(with_passphrase("correct horse", knowing(), &format!("backup {}", file.display())).code, 0);
    let world = World { no_beginning: Some("this host is in cluster c1 already"), ..World::default() };
    let ran = run(world, &format!("restore {}", file.display()));
    assert!(ran.code == 1 && ran.stderr.contains("in cluster c1 already"), "{}", ran.stderr);
}

#[test]
fn a_stream_that_breaks_is_begun_again_and_leaves_no_file_where_it_breaks_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("backup {}", folder.path().join("c.backup").display());
    let ran = with_passphrase("correct horse", World { breaks_left: u32::MAX, ..knowing() }, &line);
    assert_eq!(ran.world.backups_asked, 5, "again and again, and not for ever");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    expect![[r#"
        stderr: lost the stream, the daemon or the leader is gone; beginning again
        stderr: muster: the backup broke off each time, because the daemon or the leader went away, and nothing of it was kept; see with `muster info` whether there is a leader, then run the command again
        exit code 1
    "#]].assert_eq(&shown(&ran));

    // No attempt has to begin within any time of the first: each takes as long as it takes.
    let ran = with_passphrase("correct horse", World { breaks_left: 4, ..knowing() }, &line);
    expect![[r#"
        the cluster is in DIR/c.backup (146.6KiB); `muster restore DIR/c.backup` on a host in no cluster goes on from there
        stderr: lost the stream, the daemon or the leader is gone; beginning again
        exit code 0
    "#]].assert_eq(&told(&ran, folder.path()));
    assert_eq!((ran.world.backups_asked, fs::read_dir(folder.path()).unwrap().count()), (5, 1));
}

#[test]
fn a_stream_that_ends_too_early_without_a_word_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("backup {}", folder.path().join("c.backup").display());
    for bytes in [0, 1, 100_000, 149_999] {
        let cut = World { backup: content()[..bytes].to_vec(), ..world() };
        let ran = with_passphrase("correct horse", cut, &line);
        assert!(ran.code == 1 && ran.stderr.contains("before it was whole"), "{bytes}: {}", ran.stderr);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_file_that_is_damaged_or_no_backup_reaches_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.backup");
    let restore = || with_passphrase("correct horse", World::default(), &format!("restore {}", file.display()));
    let refused = |said: &str| {
        let ran = restore();
        assert!(ran.code == 1 && ran.world.restored.is_empty(), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    };
    refused("; name the file that `muster backup` wrote");
    fs::create_dir(&file).unwrap();
    refused("; name a file in that folder");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, "services: []").unwrap();
    refused("it is not a backup");
    fs::remove_file(&file).unwrap();
    assert_eq!(with_passphrase("correct horse", knowing(), &format!("backup {}", file.display())).code, 0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    refused("it ends too early");
    let mut damaged = whole;
    damaged[100_000] ^= 1;
    fs::write(&file, &damaged).unwrap();
    refused("it is damaged near byte");
}
