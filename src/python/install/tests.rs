//! The whole installation against stub interpreters: shell scripts made at run time.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Mutex;

use rstest::rstest;

use super::*;
use crate::model::{Code, Error};

/// A folder with programs, and an installer that sees nothing else.
struct Machine {
    folder: tempfile::TempDir,
}

/// Behaves as Python does towards the installer. `pip.sh` beside it decides how pip fares; every start is counted.
const PYTHON: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
machine=MACHINE
echo "$*" | head -n 1 >> "$machine/starts"
case "$*" in
*has_venv*) cat "$machine/NAME.json" ;;
*"-m venv"*)
    mkdir -p "$4/bin" "$4/lib/python3.11/site-packages"
    ln -s "$0" "$4/bin/python"
    echo stale > "$4/bin/pip" ;;
*"-m pip"*) . "$machine/pip.sh" ;;
*"import pysail"*) test ! -e "$machine/broken" || { echo "ImportError: libstdc++.so.6: cannot open shared object file" >&2; exit 1; } ;;
esac
"#;

/// Puts every package in place. The working directory is the environment's root.
const PIP_WORKS: &str = r#"
site=lib/python3.11/site-packages
mkdir -p $site/pysail-0.7.2.dist-info $site/pyspark_client-4.2.0.dist-info $site/pandas-2.3.3.dist-info \
  $site/pyarrow-26.0.1.dist-info $site/numpy-2.4.6.dist-info $site/matplotlib-3.11.2.dist-info
echo "Collecting pysail==0.7.2"
"#;

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        let machine = Self { folder };
        machine.pip(PIP_WORKS);
        machine
    }

    fn with_python() -> Self {
        let machine = Self::new();
        machine.python("python3.11", [3, 11, 7], true, false);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pip(&self, script: &str) {
        std::fs::write(self.path("pip.sh"), script).unwrap();
    }

    fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    fn python(&self, name: &str, version: [u32; 3], has_venv: bool, musl: bool) -> PathBuf {
        let machine = self.folder.path().to_str().unwrap();
        let script = PYTHON.replace("MACHINE", machine).replace("NAME", name);
        let path = self.program(name, &script);
        let answer = serde_json::json!({
            "executable": path, "version": version, "implementation": "cpython", "bits": 64,
            "free_threaded": false, "musl": musl, "has_venv": has_venv,
        });
        std::fs::write(
            self.path(&format!("{name}.json")),
            answer.to_string() + "\n",
        )
        .unwrap();
        path
    }

    fn installer(&self) -> Installer {
        Installer {
            variables: vec![("PATH".into(), self.path("bin").into())],
            room: 0,
            ..Installer::new(self.path("cache"))
        }
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.path("starts")).map_or(0, |text| text.lines().count())
    }

    /// Names in the engine's folder.
    fn left(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("cache/engine")) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

async fn ensure(installer: &Installer) -> Result<Engine> {
    installer.ensure(|_| ()).await
}

async fn fails(installer: &Installer) -> Error {
    let error = ensure(installer).await.unwrap_err();
    assert_eq!(error.code(), Code::EngineUnavailable, "{error:?}");
    assert!(error.hint_text().contains('`'), "{error:?}");
    error
}

#[tokio::test]
async fn an_installed_engine_is_found_without_starting_anything() {
    let machine = Machine::with_python();
    let installer = machine.installer();
    assert_eq!(installer.status(), Status::NotInstalled { others: vec![] });

    let engine = ensure(&installer).await.unwrap();
    assert_eq!(engine.python_version, "3.11.7");
    assert_eq!(engine.engine_version, "0.7.2");
    assert_eq!(engine.python, engine.root.join("bin/python"));
    assert!(engine.python.is_file());
    assert!(
        !engine.root.join("bin/pip").exists(),
        "it names the old folder"
    );
    assert!(!engine.root.join(".tmp").exists());

    let starts = machine.starts();
    let told = Mutex::new(0);
    let again = installer.ensure(|_| *told.lock().unwrap() += 1).await;
    assert_eq!(again.unwrap(), engine);
    assert_eq!((machine.starts(), *told.lock().unwrap()), (starts, 0));
    let Status::Installed {
        engine: found,
        versions,
        others,
        ..
    } = installer.status()
    else {
        panic!("must be installed");
    };
    assert_eq!((found, others), (engine, vec![]));
    assert_eq!(versions["pyspark-client"], "4.2.0");
}

#[tokio::test]
async fn progress_grows_to_the_end() {
    let machine = Machine::with_python();
    let seen = Mutex::new(Vec::new());
    let report = |progress: Progress| seen.lock().unwrap().push(progress.fraction.unwrap());
    machine.installer().ensure(report).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&1.0));
}

#[rstest]
#[case::none(&[], "no Python found")]
#[case::old(&[("python3", [3, 8, 10], true, false)], "python3: too old (3.8.10)")]
#[case::new(&[("python3", [3, 15, 0], true, false)], "python3: too new (3.15.0)")]
#[case::no_venv(&[("python3", [3, 11, 2], false, false)], "venv and ensurepip are missing")]
#[case::musl(&[("python3", [3, 12, 1], true, true)], "musl")]
#[tokio::test]
async fn a_python_that_does_not_do_is_named(
    #[case] pythons: &[(&str, [u32; 3], bool, bool)],
    #[case] says: &str,
) {
    let machine = Machine::new();
    for (name, version, has_venv, musl) in pythons {
        machine.python(name, *version, *has_venv, *musl);
    }
    let error = fails(&machine.installer()).await;
    assert!(error.message().contains(says), "{error}");
}

#[tokio::test]
async fn the_best_python_that_runs_is_taken() {
    let machine = Machine::new();
    machine.program(
        "python3.14",
        "#!/bin/sh\necho 'pyenv: python3.14: command not found' >&2\nexit 127\n",
    );
    machine.python("python3.13", [3, 13, 0], false, false);
    machine.python("python3.11", [3, 11, 7], true, false);
    machine.python("python3", [3, 10, 1], true, false);
    let engine = ensure(&machine.installer()).await.unwrap();
    assert_eq!(engine.python_version, "3.11.7");
}

#[tokio::test]
async fn a_named_python_is_the_only_one_looked_at_and_its_shim_is_remembered() {
    let machine = Machine::with_python();
    let mut installer = machine.installer();
    let engine = ensure(&installer).await.unwrap();
    let shim = machine.program(
        "shim",
        &format!(
            "#!/bin/sh\nexec {} \"$@\"\n",
            machine.path("bin/python3.11").display()
        ),
    );
    installer.python = Some(shim);
    let inode = |engine: &Engine| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&engine.root).unwrap().ino()
    };
    let before = inode(&engine);
    assert_eq!(ensure(&installer).await.unwrap(), engine);
    assert_eq!(inode(&engine), before, "the engine was kept");
    let starts = machine.starts();
    assert_eq!(ensure(&installer).await.unwrap(), engine);
    assert_eq!(machine.starts(), starts);

    installer.python = Some(machine.path("bin/absent"));
    let error = fails(&installer).await;
    assert!(
        error.message().contains("bin/absent, does not do"),
        "{error}"
    );
}

#[rstest]
#[case(
    "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2; exit 1",
    "is full"
)]
#[case(
    "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    numpy==2.4.6 from x' >&2; exit 1",
    "numpy 2.4.6 is not the one that was pinned"
)]
#[case("kill -9 $$", "could not install")]
#[case("exit 0", "pysail is missing")]
#[tokio::test]
async fn a_failed_installation_leaves_nothing_and_the_next_one_works(
    #[case] pip: &str,
    #[case] says: &str,
) {
    let machine = Machine::with_python();
    machine.pip(pip);
    let error = fails(&machine.installer()).await;
    assert!(error.message().contains(says), "{error}");
    assert_eq!(machine.left(), [".lock", "engine.lock"]);
    assert_eq!(
        machine.installer().status(),
        Status::NotInstalled { others: vec![] }
    );

    machine.pip(PIP_WORKS);
    ensure(&machine.installer()).await.unwrap();
}

#[tokio::test]
async fn what_does_not_load_is_no_engine() {
    let machine = Machine::with_python();
    std::fs::write(machine.path("broken"), "").unwrap();
    let error = fails(&machine.installer()).await;
    assert!(error.message().contains("libstdc++.so.6"), "{error}");
    assert_eq!(machine.left(), [".lock", "engine.lock"]);
}

#[tokio::test]
async fn a_dropped_installation_kills_its_programs_and_the_next_one_works() {
    let machine = Machine::with_python();
    machine.pip("echo $$ > $machine/pid; echo 'Collecting hang==1'; sleep 1000 & wait");
    let installer = machine.installer();
    let hangs = tokio::sync::Notify::new();
    let report = |progress: Progress| {
        if progress.phase.contains("hang") {
            hangs.notify_one();
        }
    };
    tokio::select! {
        ended = installer.ensure(report) => panic!("must hang: {ended:?}"),
        () = hangs.notified() => {}
    }
    let pid = std::fs::read_to_string(machine.path("pid")).unwrap();
    let alive = |pid: &str| {
        // A killed child may stay a zombie until the runtime reaps it.
        let output = Command::new("ps")
            .args(["-o", "stat=", "-g", pid])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .any(|stat| !stat.starts_with('Z'))
    };
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while alive(pid.trim()) {
        assert!(std::time::Instant::now() < end, "still alive");
        tokio::task::yield_now().await;
    }
    assert!(machine.left().iter().any(|name| name.starts_with(".new-")));
    assert_eq!(installer.status(), Status::NotInstalled { others: vec![] });

    machine.pip(PIP_WORKS);
    ensure(&installer).await.unwrap();
    assert!(!machine.left().iter().any(|name| name.starts_with(".new-")));
}

#[tokio::test]
async fn two_installers_at_once_make_one_engine() {
    let machine = Machine::with_python();
    machine.pip(&format!("echo once >> $machine/pips\n{PIP_WORKS}"));
    let waited = Mutex::new(0);
    let report = |progress: Progress| {
        if progress.phase.contains("another process") {
            *waited.lock().unwrap() += 1;
        }
    };
    let (one, two) = (machine.installer(), machine.installer());
    let (first, second) = tokio::join!(one.ensure(report), two.ensure(report));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(*waited.lock().unwrap(), 1);
    // The build back end and the rest, once each.
    let pips = std::fs::read_to_string(machine.path("pips")).unwrap();
    assert_eq!(pips.lines().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_another_installer_ends() {
    let machine = Machine::with_python();
    let installer = machine.installer();
    let _held = installer.folder().try_lock().unwrap().unwrap();
    let error = fails(&installer).await;
    assert!(error.message().ends_with("for 21m"), "{error}");
    assert!(
        installer
            .remove()
            .unwrap_err()
            .message()
            .contains("another process")
    );
}

#[tokio::test]
async fn the_deadline_ends_an_installation_and_says_what_it_did() {
    let machine = Machine::with_python();
    let installer = Installer {
        install_within: Duration::ZERO,
        ..machine.installer()
    };
    let error = fails(&installer).await;
    assert!(
        error.message().contains("while preparing Python 3.11.7"),
        "{error}"
    );
    assert_eq!(machine.left(), [".lock"]);
}

#[tokio::test]
async fn too_little_room_is_said_before_the_download() {
    let machine = Machine::with_python();
    let installer = Installer {
        room: u64::MAX,
        ..machine.installer()
    };
    let error = fails(&installer).await;
    assert!(error.message().starts_with("not enough room"), "{error}");
    assert_eq!(machine.starts(), 0);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let machine = Machine::with_python();
    std::fs::write(machine.path("cache"), "a file").unwrap();
    let error = fails(&machine.installer()).await;
    assert!(error.message().starts_with("cannot write to"), "{error}");
}

#[tokio::test]
async fn a_folder_of_wheels_means_no_network() {
    let machine = Machine::with_python();
    machine.pip(&format!("echo \"$*\" >> $machine/arguments\n{PIP_WORKS}"));
    let mut installer = machine.installer();
    installer.wheels = Some(machine.path("wheels"));
    let error = fails(&installer).await;
    assert!(error.message().ends_with("wheels is not there"), "{error}");
    assert!(
        machine.left().contains(&"engine.lock".to_owned()),
        "the hint names it"
    );

    std::fs::create_dir(machine.path("wheels")).unwrap();
    ensure(&installer).await.unwrap();
    let arguments = std::fs::read_to_string(machine.path("arguments")).unwrap();
    for line in arguments.lines() {
        assert!(line.contains("--require-hashes"), "{line}");
        assert!(line.contains("--no-index --find-links"), "{line}");
    }
}

/// Behaves as uv does; `install` decides how it fares.
fn uv(machine: &Machine, install: &str) {
    let script = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\nmachine={}\ncase \"$*\" in\n--version) echo uv 0.13.8 ;;\nvenv*) \
         for root; do :; done; mkdir -p \"$root/bin\" \"$root/lib/python3.11/site-packages\"; ln -s \"$machine/bin/python3.11\" \"$root/bin/python\" ;;\n\
         pip*) {install} ;;\nesac\n",
        machine.folder.path().display()
    );
    machine.program("uv", &script);
}

#[tokio::test]
async fn uv_is_preferred_and_needs_no_venv_module() {
    let machine = Machine::new();
    machine.python("python3.11", [3, 11, 7], false, false);
    uv(&machine, ". $machine/pip.sh");
    ensure(&machine.installer()).await.unwrap();
}

#[rstest]
#[case::what_may_lie_in_uv(
    "echo 'error: invalid peer certificate: UnknownIssuer' >&2; exit 2",
    None
)]
#[case::a_wrong_file(
    "echo 'error: Hash mismatch for `numpy==2.4.6`' >&2; exit 2",
    Some("hash mismatch")
)]
#[tokio::test]
async fn pip_takes_over_for(#[case] install: &str, #[case] error: Option<&str>) {
    let machine = Machine::with_python();
    uv(&machine, install);
    match error {
        None => drop(ensure(&machine.installer()).await.unwrap()),
        Some(says) => {
            let error = fails(&machine.installer()).await;
            assert!(error.message().contains(says), "{error}");
        }
    }
}

#[tokio::test]
async fn an_engine_whose_python_is_gone_is_made_anew() {
    let machine = Machine::with_python();
    let installer = machine.installer();
    let engine = ensure(&installer).await.unwrap();
    std::fs::remove_file(machine.path("bin/python3.11")).unwrap();
    assert_eq!(
        installer.status(),
        Status::NotInstalled {
            others: vec![engine.root.clone()]
        }
    );

    machine.python("python3.11", [3, 11, 7], true, false);
    std::fs::remove_file(&engine.python).unwrap();
    assert_eq!(ensure(&installer).await.unwrap(), engine);
    assert!(engine.python.is_file());
    assert_eq!(machine.left().len(), 3, "the old one is deleted");
}

#[tokio::test]
async fn a_record_that_is_torn_or_of_another_lock_is_no_engine() {
    let machine = Machine::with_python();
    let installer = machine.installer();
    let engine = ensure(&installer).await.unwrap();
    let record = engine.root.join("engine.json");
    let text = std::fs::read_to_string(&record).unwrap();

    std::fs::write(&record, text.replace("\"lock\": \"", "\"lock\": \"0")).unwrap();
    assert_eq!(
        installer.status(),
        Status::NotInstalled {
            others: vec![engine.root.clone()]
        }
    );
    std::fs::write(&record, &text[..text.len() / 2]).unwrap();
    assert_eq!(installer.status(), Status::NotInstalled { others: vec![] });
    assert_eq!(ensure(&installer).await.unwrap(), engine);
}

#[tokio::test]
async fn remove_deletes_every_engine_and_leftover() {
    let machine = Machine::with_python();
    let installer = machine.installer();
    assert_eq!(installer.remove().unwrap(), 0);
    ensure(&installer).await.unwrap();
    std::fs::create_dir(machine.path("cache/engine/.new-left")).unwrap();
    assert_eq!(installer.remove().unwrap(), 1);
    assert_eq!(machine.left(), [".lock"]);
    assert_eq!(installer.status(), Status::NotInstalled { others: vec![] });
}
