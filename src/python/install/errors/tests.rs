use std::path::PathBuf;

use rstest::rstest;

use super::*;

/// Words that pip 23.0 and uv 0.13 really said, shortened.
#[rstest]
#[case::pip_refused(
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('x: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/setuptools/\nERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)\nERROR: No matching distribution found for setuptools==84.2.1",
    Cause::Network
)]
#[case::pip_name(
    "WARNING: Retrying after connection broken by 'NewConnectionError('x: [Errno -2] Name or service not known')'\nERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)\nERROR: No matching distribution found for setuptools==84.2.1",
    Cause::Name
)]
#[case::pip_tls(
    "Could not fetch URL https://x/simple/: There was a problem confirming the ssl certificate: [SSL: CERTIFICATE_VERIFY_FAILED] - skipping\nERROR: No matching distribution found for numpy==2.4.6",
    Cause::Tls
)]
#[case::pip_proxy(
    "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'\nERROR: No matching distribution found for numpy==2.4.6",
    Cause::Proxy
)]
#[case::pip_absent(
    "ERROR: Could not find a version that satisfies the requirement pysail==0.7.2 (from versions: none)\nERROR: No matching distribution found for pysail==0.7.2",
    Cause::NotOffered("pysail 0.7.2".into())
)]
#[case::pip_hash(
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated\n    setuptools==84.2.1 from file:///w/setuptools-84.2.1-py3-none-any.whl (from -r build.lock (line 1)):\n        Expected sha256 3f",
    Cause::Hash("setuptools 84.2.1".into())
)]
#[case::pip_disk(
    "Installing collected packages: pysail\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    Cause::DiskFull
)]
#[case::pip_rights(
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
    Cause::NotWritable
)]
#[case::pip_retried_then_full(
    "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    Cause::DiskFull
)]
#[case::uv_refused(
    "Using Python 3.11.7 environment at: x\nerror: Request failed after 3 retries in 9.5s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/setuptools/\n  cause: error sending request for url (http://127.0.0.1:9/simple/setuptools/)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
    Cause::Network
)]
#[case::uv_name(
    "error: Request failed after 3 retries in 6.2s\n  cause: dns error\n  cause: failed to lookup address information: Name or service not known",
    Cause::Name
)]
#[case::uv_proxy(
    "error: Request failed\n  cause: tunnel error: failed to create underlying connection\n  cause: Connection refused (os error 111)",
    Cause::Proxy
)]
#[case::uv_tls(
    "error: Failed to fetch: https://x/simple/setuptools/\n  cause: error sending request\n  cause: invalid peer certificate: UnknownIssuer",
    Cause::Tls
)]
#[case::uv_hash(
    "error: Failed to download `setuptools==84.2.1`\n  cause: Hash mismatch for `setuptools==84.2.1`\n\n Expected:\n sha256:0ff",
    Cause::Hash("setuptools 84.2.1".into())
)]
#[case::uv_damaged(
    "error: Failed to download `setuptools==84.2.1`\n  cause: Failed to extract archive: setuptools-84.2.1-py3-none-any.whl\n  cause: Invalid zip file structure",
    Cause::Damaged("setuptools 84.2.1".into())
)]
#[case::uv_absent(
    "error: No solution found when resolving dependencies\n  cause: Because setuptools was not found in the provided package locations and you require setuptools==84.2.1, we can conclude",
    Cause::NotOffered("setuptools".into())
)]
#[case::denied(
    "error: Failed to fetch: https://x/simple/\n  cause: HTTP status client error (401 Unauthorized) for url",
    Cause::Denied
)]
#[case::other(
    "hello\nerror: unexpected argument '--no-such' found\n",
    Cause::Other("error: unexpected argument '--no-such' found".into())
)]
#[case::silent("", Cause::Other("it said nothing".into()))]
fn words_of_pip_and_uv_are_understood(#[case] output: &str, #[case] cause: Cause) {
    assert_eq!(read(output), cause);
}

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
