//! Each cause of a failed installation names the command that helps; credentials are never repeated.

use std::path::PathBuf;

use super::super::words::read;
use super::*;

#[test]
fn credentials_of_an_index_are_never_repeated() {
    let secret = "fake-index-password";
    let words = format!("error: cannot read https://me:{secret}@index.corp/simple/ or http://x/");
    let error = failed(read(&words), about(None));
    assert!(!error.message().contains(secret));
    assert!(error.message().contains("https://index.corp/simple/"));
}

fn about(wheels: Option<&'static Path>) -> About<'static> {
    About {
        installer: "pip",
        folder: Path::new("/cache/engine"),
        wheels,
        platform: "linux-x86_64",
        python: "3.11.7",
    }
}

fn text(error: &Error) -> String {
    format!("{error}\n{}", error.hint_text())
}

#[test]
fn each_cause_names_the_command_that_helps() {
    let all = [
        Cause::Network,
        Cause::Name,
        Cause::Proxy,
        Cause::Tls,
        Cause::Denied,
        Cause::DiskFull,
        Cause::Hash("numpy 2.4.6".into()),
        Cause::Damaged("numpy 2.4.6".into()),
        Cause::NotOffered("numpy 2.4.6".into()),
        Cause::NotWritable,
        Cause::Other("killed".into()),
    ];
    let wheels = Some(Path::new("/wheels"));
    for cause in all {
        for about in [about(None), about(wheels)] {
            let error = failed(cause.clone(), about);
            assert_eq!(error.code(), Code::EngineUnavailable);
            assert!(error.hint_text().contains(AGAIN), "{error}");
            assert!(!error.message().ends_with('.'), "{error}");
        }
    }
    insta::assert_snapshot!(text(&failed(Cause::Hash("numpy 2.4.6".into()), about(wheels))), @r"
    engine_unavailable: the file of numpy 2.4.6 is not the one that was pinned (hash mismatch); nothing of it was used
    Fill it on a machine with a network, the same system and the same Python: `python3 -m pip download --require-hashes --no-deps --only-binary :all: --no-binary pyspark-client -r /cache/engine/engine.lock -d /wheels`, then run `sparklease engine install`.
    ");
    insta::assert_snapshot!(text(&failed(Cause::NotOffered("pysail 0.7.2".into()), about(None))), @r"
    engine_unavailable: the package index offers no file of pysail 0.7.2 for linux-x86_64 and Python 3.11.7
    Needed are Linux with glibc 2.28 or macOS, 64 bits; on those check that your index carries the package, then run `sparklease engine install`.
    ");
}

#[test]
fn a_missing_python_is_explained_by_what_was_found() {
    let found = |unfit: Vec<(&str, Unfit)>| {
        let list = unfit.into_iter();
        NoneFits(list.map(|(path, why)| (PathBuf::from(path), why)).collect())
    };
    insta::assert_snapshot!(text(&no_python(&found(vec![]), None)), @r"
    engine_unavailable: no Python found on the PATH; the local engine needs 3.10 to 3.14
    Install Python 3.10 to 3.14, for example `sudo apt install python3 python3-venv` or `brew install python@3.13`, then run `sparklease engine install`.
    ");
    let old = found(vec![
        ("/shims/python3.11", Unfit::DoesNotRun),
        ("/usr/bin/python3", Unfit::TooOld("3.8.10".into())),
    ]);
    insta::assert_snapshot!(text(&no_python(&old, None)), @r"
    engine_unavailable: no fitting Python found; the local engine needs 3.10 to 3.14; /shims/python3.11: does not run; /usr/bin/python3: too old (3.8.10)
    Install Python 3.10 to 3.14, for example `sudo apt install python3 python3-venv` or `brew install python@3.13`, then run `sparklease engine install`.
    ");
    let bare = found(vec![("/usr/bin/python3", Unfit::NoVenv("3.11.2".into()))]);
    insta::assert_snapshot!(text(&no_python(&bare, None)), @r"
    engine_unavailable: Python 3.11.2 is there but cannot make a virtual environment: its modules venv and ensurepip are missing
    On Debian and Ubuntu run `sudo apt install python3.11-venv` (or `python3-venv`), then `sparklease engine install`.
    ");
    let alpine = found(vec![("/usr/bin/python3", Unfit::Musl("3.12.1".into()))]);
    insta::assert_snapshot!(text(&no_python(&alpine, None)), @r"
    engine_unavailable: the local engine has no build for musl Linux, such as Alpine
    Use an image with glibc, for example `python:3.13-slim`, or configure a remote target.
    ");
}
