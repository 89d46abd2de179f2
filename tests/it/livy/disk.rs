//! A ledger that cannot be written, read or trusted: the built binary sends no create, deletes what exists, and says
//! what to do. Counted on the Livy server.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::world::{BOUND, World, guardian_of, kill_both, kill_group, runs};
use crate::common::{Answer, Server, wait_until};

/// A file system of 256 kB for the server and its guardian alone; `$1` is the data folder, `$2` what goes into it.
const SMALL_DISK: &str = "mount -t tmpfs -o size=256k tmpfs \"$1\" && mkdir -m 700 \"$1/ledger\" && cp \"$2\" \"$1/ledger\" && shift 2 && exec \"$@\"";
/// The folder `$1` can be read only.
const READ_ONLY: &str =
    "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
/// No file can grow by a byte, which needs no rights: as on a disk that is full when the server starts.
const NO_ROOM: &str = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";

/// Starts the server from a shell that has mounts of its own.
async fn mounted(world: &World, script: &str, arguments: &[&Path]) -> Server {
    let mut words = vec![
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
    ];
    words.extend(arguments.iter().map(|path| path.to_str().unwrap()));
    let possible = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    assert!(
        possible.is_ok_and(|status| status.success()),
        "`unshare --map-root-user --mount` must work here (util-linux, and a kernel that lets users make namespaces)"
    );
    Server::without_engine(world.setup().by(&words)).await
}

/// Opens another session, which fails before anything is sent.
async fn refused(world: &World, server: &Server, code: &str) -> Answer {
    let creates = world.count("POST", "/sessions").await;
    let answer = server.call("open_session", json!({"name": "more"})).await;
    let answer = answer.failed(code);
    assert_eq!(
        world.count("POST", "/sessions").await,
        creates,
        "{}",
        answer.text
    );
    answer
}

/// Message and hint, without the folder's name.
fn words(world: &World, answer: &Answer) -> String {
    let text = format!("{}\n{}", answer.message(), answer.hint());
    text.replace(world.home().to_str().unwrap(), "HOME")
}

/// Uses up what is left of a disk; gives the file that does.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    path
}

async fn only_strangers(world: &World) {
    world.empties().await;
    world.quiet().await;
    assert_eq!(world.ours().await, Vec::<String>::new());
    assert_eq!(world.livy.listed().await, 3, "strangers are left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_created_and_everything_is_deleted() {
    let world = World::start().await;
    let data = world.home().join("data");
    let timing = world.ledger().join("timing-for-tests.json");
    let kept = world.home().join("timing-for-tests.json");
    fs::copy(timing, &kept).unwrap();
    let server = mounted(&world, SMALL_DISK, &[&data, &kept]).await;
    server
        .call("open_session", json!({"name": "ours"}))
        .await
        .ok();
    // As the server sees it.
    let inside = PathBuf::from(format!("/proc/{}/root{}", server.pid(), data.display()));
    let filler = fill(&inside);
    let answer = refused(&world, &server, "internal").await;
    assert_eq!(
        words(&world, &answer),
        "the ledger in HOME/data/ledger cannot be written: the disk is full\nFree some space there and call again; \
         nothing is created without it, and sessions that exist are still deleted."
    );
    // What is open works and is deleted.
    let code = json!({"code": "1", "session": "ours"});
    server.call("run_pyspark", code).await.ok();
    server
        .call("close_session", json!({"session": "ours"}))
        .await
        .ok();
    world.empties().await;
    // With room again it goes on, without a new start.
    fs::remove_file(filler).unwrap();
    server
        .call("open_session", json!({"name": "next"}))
        .await
        .ok();
    assert_eq!(world.ours().await.len(), 1);
    // The guardian needs no room either.
    fill(&inside);
    let guardian = guardian_of(server.pid()).unwrap();
    kill_group(server.pid());
    only_strangers(&world).await;
    assert!(!runs(guardian.pid));
    world.end().await;
}

/// What a dead server has left is deleted by one that starts on a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_deletes_what_is_left_and_creates_nothing() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    let setup = world.setup().by(&["sh", "-c", NO_ROOM, "sh"]);
    let server = Server::without_engine(setup).await;
    world.empties().await;
    let answer = refused(&world, &server, "internal").await;
    let said = words(&world, &answer);
    assert!(
        said.starts_with("the ledger in HOME/data/ledger cannot be written: the disk "),
        "{said}"
    );
    assert!(
        said.ends_with("nothing is created without it, and sessions that exist are still deleted."),
        "{said}"
    );
    server.end().await;
    only_strangers(&world).await;
    // With room again the books are closed.
    let swept = world.command(&["sweep"]).await;
    assert!(swept.status.success(), "{swept:?}");
    world.is_clean().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_folder_that_can_only_be_read_nothing_is_created_and_what_is_left_is_deleted() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    let server = mounted(&world, READ_ONLY, &[&world.ledger()]).await;
    world.empties().await;
    let answer = refused(&world, &server, "configuration_invalid").await;
    assert_eq!(
        words(&world, &answer),
        "no owner's file can be made in HOME/data/ledger/owners: Read-only file system (os error 30)\nSet \
         SPARKLEASE_DATA_DIR to a folder that you may write, on a local disk with free space."
    );
    server.end().await;
    only_strangers(&world).await;
    let swept = world.command(&["sweep"]).await;
    assert!(swept.status.success(), "{swept:?}");
    world.is_clean().await;
    world.end().await;
}

/// Writes nonsense over the file and its log, in place, as a disk would do it.
fn damage(world: &World) {
    for name in ["ledger.db", "ledger.db-wal"] {
        let path = world.ledger().join(name);
        let Ok(before) = fs::read(&path) else {
            continue;
        };
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(&vec![0x5a; before.len()]).unwrap();
    }
}

/// Files that were put aside.
fn kept(world: &World) -> usize {
    let files = fs::read_dir(world.ledger()).unwrap().flatten();
    let kept = files.filter(|file| {
        file.file_name()
            .to_string_lossy()
            .starts_with("ledger.db.damaged-")
    });
    kept.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_is_put_aside_and_loses_no_session() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    let lost = world.rows().remove(0).tag;
    let living = world.server().await;
    living
        .call("open_session", json!({"name": "mine"}))
        .await
        .ok();
    let rows = world.rows();
    let mine = rows.into_iter().map(|row| row.tag).find(|tag| *tag != lost);
    let mine = mine.expect("two sessions have two rows");
    kill_both(dead.pid()).await;
    damage(&world);
    // Who opens the file next sees it, and finds the dead one's session by its name.
    let next = world.server().await;
    wait_until("the damaged file is kept", BOUND, || kept(&world) >= 1).await;
    while world.ours().await.len() > 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.ours().await, [mine.as_str()]);
    // Nothing is created but with a row in the new file, which has the living server's session as well.
    living
        .call("open_session", json!({"name": "next"}))
        .await
        .ok();
    let rows = world.rows();
    assert!(
        rows.len() == 2 && rows.iter().any(|row| row.tag == mine),
        "{rows:?}"
    );
    living
        .call("close_session", json!({"session": "mine"}))
        .await
        .ok();
    assert!(!world.ours().await.contains(&mine));
    living.end().await;
    next.end().await;
    only_strangers(&world).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_that_cannot_be_put_aside_creates_nothing_and_deletes_by_name() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    damage(&world);
    let server = mounted(&world, READ_ONLY, &[&world.ledger()]).await;
    let answer = refused(&world, &server, "configuration_invalid").await;
    assert!(
        answer.hint().contains("SPARKLEASE_DATA_DIR"),
        "{}",
        answer.text
    );
    world.empties().await;
    server.end().await;
    only_strangers(&world).await;
    world.end().await;
}

/// The folder of all our data cannot be written: the server says so at once, and a sweep still deletes.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_its_data_the_command_sweep_still_deletes() {
    let world = World::start().await;
    let dead = world.server_with_session().await;
    kill_both(dead.pid()).await;
    let data = world.home().join("data");
    let script = [
        READ_ONLY,
        "sh",
        data.to_str().unwrap(),
        env!("CARGO_BIN_EXE_sparklease"),
    ];
    for (command, works) in [("mcp", false), ("sweep", true)] {
        let ran = tokio::process::Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .args(script)
            .arg(command)
            .env("SPARKLEASE_CONFIG", world.home().join("config.toml"))
            .env("SPARKLEASE_DATA_DIR", &data)
            .stdin(std::process::Stdio::null())
            .output();
        let ran = tokio::time::timeout(BOUND, ran).await.unwrap().unwrap();
        let said =
            String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr[..]].concat()).into_owned();
        assert_eq!(ran.status.success(), works, "{said}");
        assert!(works || said.contains("SPARKLEASE_DATA_DIR"), "{said}");
    }
    only_strangers(&world).await;
    world.end().await;
}
