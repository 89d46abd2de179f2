//! Processes of the installer: their environment, their output, their deadline.

use std::os::unix::fs::PermissionsExt as _;

use rstest::rstest;

use super::*;

fn environment() -> Environment {
    Environment::from([("PATH".into(), "/usr/bin:/bin".into())])
}

fn shell(text: &str) -> Command {
    let mut command = environment().command(Path::new("/bin/sh"));
    command.args(["-c", text]);
    command
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[rstest]
#[case("HTTPS_PROXY", true)]
#[case("SSL_CERT_FILE", true)]
#[case("PIP_INDEX_URL", true)]
#[case("PIP_CERT", true)]
#[case("UV_INDEX_CORP_PASSWORD", true)]
#[case("UV_HTTP_TIMEOUT", true)]
#[case("PIP_TARGET", false)]
#[case("PIP_USER", false)]
#[case("PIP_CONSTRAINT", false)]
#[case("UV_NO_VERIFY_HASHES", false)]
#[case("UV_CONSTRAINT", false)]
#[case("PYTHONPATH", false)]
#[case("PYTHONHOME", false)]
#[case("VIRTUAL_ENV", false)]
fn the_user_says_from_where_but_not_what_or_where_to(#[case] name: &str, #[case] passes: bool) {
    let environment = Environment::from([(name.into(), "x".into())]);
    assert_eq!(environment.get(name).is_some(), passes);
}

#[test]
fn debug_of_the_environment_shows_no_value() {
    let value = "not-a-real-password";
    let environment = Environment::from([("PIP_INDEX_URL".into(), value.into())]);
    assert!(!format!("{environment:?}").contains(value));
}

#[tokio::test]
async fn lines_of_both_outputs_are_seen_cut_at_carriage_returns_and_at_a_length() {
    let mut text = String::new();
    let script = r"printf 'a\rb\n'; printf 'c' >&2; head -c 9000 /dev/zero | tr '\0' x";
    assert_eq!(run(shell(script), soon(), &mut text).await, Ended::Well);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| (line.len(), line.clone()));
    assert_eq!(lines[..3], ["a", "b", "c"]);
    assert_eq!(lines[3].len(), LINE_BYTES);
}

#[tokio::test]
async fn a_failure_keeps_its_last_lines() {
    let Ended::Badly(output) = run(shell("seq 1 1000; exit 3"), soon(), &mut ()).await else {
        panic!("must fail");
    };
    assert_eq!(output.lines().count(), KEPT_LINES);
    assert!(output.ends_with("\n1000"));
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_us() {
    let ended = run(shell("sleep 1000 & exit 0"), soon(), &mut ()).await;
    assert_eq!(ended, Ended::Well);
}

#[tokio::test]
async fn after_the_deadline_the_program_is_killed() {
    let ended = run(shell("sleep 1000"), Instant::now(), &mut ()).await;
    assert_eq!(ended, Ended::TooLate);
}

#[tokio::test]
async fn a_program_that_is_none_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program");
    std::fs::write(&file, "\u{7f}ELF broken").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
    let ended = run(environment().command(&file), soon(), &mut ()).await;
    assert!(matches!(ended, Ended::NotStarted(_)), "{ended:?}");
}
