//! The guardian of the built binary: what it says, and when it ends. Owners here are locks that the test holds.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, signal};

/// An owner's id.
const OWNER: &str = "abcdefgh";

fn guard(home: &Path, owner: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sparklease"))
        .args(["guard", "--owner", owner, "--parent", "1"])
        .env("SPARKLEASE_CONFIG", home.join("config.toml"))
        .env("SPARKLEASE_DATA_DIR", home.join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A home with the lock of an owner that lives.
fn home() -> (tempfile::TempDir, File) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "").unwrap();
    let owners = home.path().join("data/ledger/owners");
    std::fs::create_dir_all(&owners).unwrap();
    let lock = File::create(owners.join(format!("{OWNER}.lock"))).unwrap();
    lock.lock().unwrap();
    (home, lock)
}

/// Waits for its end; gives its code and all that it had not said yet.
fn ended(mut child: Child) -> (Option<i32>, String, String) {
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the guardian does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (mut said, mut errors) = (String::new(), String::new());
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said).unwrap();
    }
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    (status.code(), said, errors)
}

#[test]
fn a_guardian_says_ready_once_its_owner_lives_and_ends_with_it() {
    let (home, lock) = home();
    let mut child = guard(home.path(), OWNER);
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, format!("READY {OWNER}\n"));
    // What a terminal sends to everybody is not for it.
    signal(child.id(), rustix::process::Signal::INT);
    signal(child.id(), rustix::process::Signal::HUP);
    std::thread::sleep(Duration::from_millis(50));
    assert!(child.try_wait().unwrap().is_none());
    drop(lock);
    assert_eq!(ended(child), (Some(0), String::new(), String::new()));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "one line, and no other");
    let left = home.path().join(format!("data/ledger/owners/{OWNER}.lock"));
    assert!(!left.exists(), "a swept owner's file is removed");
}

#[test]
fn a_guardian_of_a_dead_or_unknown_owner_never_says_ready() {
    let (home, lock) = home();
    drop(lock);
    assert_eq!(
        ended(guard(home.path(), OWNER)),
        (Some(0), String::new(), String::new())
    );
    assert_eq!(
        ended(guard(home.path(), "hgfedcba")),
        (Some(0), String::new(), String::new())
    );
    let (code, said, errors) = ended(guard(home.path(), "../../etc"));
    assert_eq!(code, Some(2));
    assert!(
        said.starts_with("FAILED {") && said.contains("is no owner's id"),
        "{said}"
    );
    assert!(errors.contains("is no owner's id"), "{errors}");
}

#[test]
fn a_guardian_needs_nobody_to_read_what_it_says() {
    let (home, lock) = home();
    let mut child = guard(home.path(), OWNER);
    child.stdout = None;
    child.stdin = None;
    std::thread::sleep(Duration::from_millis(100));
    drop(lock);
    assert_eq!(ended(child), (Some(0), String::new(), String::new()));
}
