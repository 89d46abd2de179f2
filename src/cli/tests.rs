//! The command line as a whole: what is parsed, what is printed where, how it ends.

use std::path::Path;

use clap::ValueEnum;

use super::output::testing::{Kind, output};
use super::*;

/// Runs the arguments: exit code, stdout, stderr, the home as `~`.
fn sparklease(home: &Path, terminal: bool, arguments: &[&str]) -> (ExitCode, String, String) {
    let mut written = None;
    let code = start(
        std::iter::once("sparklease")
            .chain(arguments.iter().copied())
            .map(OsString::from)
            .collect(),
        terminal,
        Environment::fake(home, []),
        SecretRegistry::default(),
        |json, quiet| {
            let (output, stdout, stderr) = output(Kind {
                terminal: false,
                json,
                quiet,
            });
            written = Some((stdout, stderr));
            output
        },
    );
    let (stdout, stderr) = written.unwrap();
    let show = |text: String| text.replace(&*home.to_string_lossy(), "~");
    (code, show(stdout.take()), show(stderr.take()))
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_a_terminal_gets_help() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = sparklease(home.path(), true, &[]);
    assert_eq!((code, stderr.as_str()), (ExitCode::SUCCESS, ""));
    insta::assert_snapshot!(stdout, @r"
    Spark for AI assistants: an MCP server that runs SQL and PySpark on leased, ephemeral Spark
    sessions.

    Without a command it serves MCP when its stdin is not a terminal (as a client starts it), else it
    prints this help.

    Usage: sparklease [OPTIONS] [COMMAND]

    Commands:
      try          Show everything once: install the engine, connect as a real MCP client, query, run
                   PySpark, clean up
      mcp          Serve MCP on stdin and stdout; this is what assistants start
      sql          Run one SQL statement and print its rows
      write        Write a table from a file or a query
      run          Run a Python file, or stdin, with `spark` ready
      tables       List the tables of a target's catalogue
      sessions     List the sessions that are open now, of every sparklease of this user
      sweep        Delete the sessions that dead servers left on remote targets
      doctor       Check the engine, the configuration and each target, and say what to do
      config       Show the effective settings and where each came from
      engine       Install, inspect or remove the local engine
      install      Connect an assistant: print its configuration entry, or write it
      completions  Print a completion script for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>
              The configuration file [default: SPARKLEASE_CONFIG, else ~/.config/sparklease/config.toml]

          --json
              Print one JSON document; errors are JSON too

          --log <FILTER>
              What is logged to stderr: off, error, warn, info, debug, trace, or a list like
              info,sparklease::lease=debug

      -q, --quiet
              Print no notes and no progress; warnings and errors stay

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    First: `sparklease try` shows everything once; `sparklease install --client claude-code` connects an
    assistant.
    ");
}

#[test]
fn a_usage_error_is_2_on_stderr_and_json_on_request() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = sparklease(home.path(), true, &["sqll"]);
    assert_eq!((code, stdout.as_str()), (ExitCode::from(2), ""));
    insta::assert_snapshot!(stderr, @r"
    error: unrecognized subcommand 'sqll'

      tip: a similar subcommand exists: 'sql'

    Usage: sparklease [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    let (code, stdout, stderr) = sparklease(
        home.path(),
        true,
        &["sql", "--max-rows", "0", "select 1", "--json"],
    );
    assert_eq!((code, stdout.as_str()), (ExitCode::from(2), ""));
    insta::assert_snapshot!(stderr, @r#"
    {"code":"invalid_argument","message":"invalid value '0' for '--max-rows <N>': 0 is not in 1..=1000000","hint":"Run `sparklease --help`, or `sparklease COMMAND --help`.","retryable":false}
    "#);
}

#[test]
fn help_and_version_are_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = sparklease(home.path(), true, &["--version"]);
    assert_eq!((code, stderr.as_str()), (ExitCode::SUCCESS, ""));
    assert_eq!(
        stdout,
        format!("sparklease {}\n", env!("CARGO_PKG_VERSION"))
    );
    for command in [
        "try",
        "mcp",
        "sql",
        "run",
        "sessions",
        "doctor",
        "config",
        "engine",
        "install",
        "completions",
    ] {
        let (code, stdout, _) = sparklease(home.path(), true, &[command, "--help"]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(stdout.contains("--json"), "{command}");
    }
}

#[test]
fn config_show_names_each_origin() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.toml");
    std::fs::write(
        &file,
        "[server]\nrows = 7\n[files]\nallowed = ['/clearly-fake-secret']\n",
    )
    .unwrap();
    let arguments = ["config", "show", "--config", "c.toml", "--log", "debug"];
    let (code, stdout, stderr) = sparklease(home.path(), true, &arguments);
    assert_eq!((code, stderr.as_str()), (ExitCode::SUCCESS, ""));
    insta::assert_snapshot!(stdout, @r#"
    setting	value	origin
    default_target	local	default
    server.access	read-write	default
    server.wait	25s	default
    server.rows	7	~/c.toml
    server.answer_bytes	24KiB	default
    server.keep	30m	default
    server.silence	15m	default
    server.structured_copy	true	default
    server.log	debug	flag --log
    server.log_format	text	default
    files.allowed	["/«redacted»"]	~/c.toml
    engine.wheels	(not set)	default
    engine.python	(not set)	default
    engine.memory	4GiB	default
    engine.spare	true	default
    targets.local.platform	local	default
    targets.local.access	read-write	default
    targets.local.limits.sessions	4	default
    targets.local.limits.warm	0	default
    targets.local.limits.queue	100	default
    targets.local.limits.queue_wait	2m	default
    targets.local.limits.open	10m	default
    targets.local.limits.idle	5m	default
    targets.local.limits.life	8h	default
    targets.local.limits.statement	30m	default
    targets.local.limits.rows	10000	default
    targets.local.limits.bytes	32MiB	default
    targets.local.limits.opening	2	default
    targets.local.limits.budget	1day	default
    "#);
    let (_, stdout, _) = sparklease(home.path(), true, &[&arguments[..], &["--json"]].concat());
    let rows: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        rows[3],
        serde_json::json!({ "key": "server.rows", "value": 7, "origin": "~/c.toml" })
    );
}

#[test]
fn config_path_says_what_is_there() {
    let home = tempfile::tempdir().unwrap();
    let (_, stdout, _) = sparklease(home.path(), true, &["config", "path"]);
    insta::assert_snapshot!(stdout.replace('\t', " | "), @r"
    what | path | state
    config | ~/.config/sparklease/config.toml | not there
    data | ~/.local/share/sparklease | not there
    cache | ~/.cache/sparklease | not there
    ");
}

#[test]
fn config_schema_is_json() {
    let home = tempfile::tempdir().unwrap();
    let (_, stdout, _) = sparklease(home.path(), true, &["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema, crate::config::schema());
}

#[test]
fn a_configuration_that_is_a_folder_ends_with_2_and_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) =
        sparklease(home.path(), true, &["config", "show", "--config", "."]);
    assert_eq!((code, stdout.as_str()), (ExitCode::from(2), ""));
    insta::assert_snapshot!(stderr, @r"
    error[configuration_invalid]: the configuration ~/. is a folder, not a file
    hint: Name a TOML file: `sparklease --config FILE …`, or set SPARKLEASE_CONFIG; `sparklease config path` prints the one that is read.
    ");
}

#[test]
fn flags_of_mcp_are_settings() {
    let mut flags = Flags::default();
    let args = mcp::Args {
        read_only: true,
        target: Some("local".to_owned()),
    };
    args.apply(&mut flags);
    let home = tempfile::tempdir().unwrap();
    let loaded = crate::config::load(&Environment::fake(home.path(), []), &flags).unwrap();
    assert_eq!(
        loaded.settings.server.access,
        crate::config::Access::ReadOnly
    );
    assert_eq!(loaded.origin("server.access"), "flag --read-only");
}

#[test]
fn every_shell_has_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in clap_complete::Shell::value_variants() {
        let (code, stdout, _) = sparklease(home.path(), true, &["completions", &shell.to_string()]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(stdout.contains("sparklease"), "{shell}");
    }
}

#[test]
fn without_remote_sessions_a_sweep_has_nothing_to_do_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["sweep"][..], "deleted: 0, left: 0\n"),
        (&["sweep", "--dry-run"], "would be deleted: 0\n"),
    ] {
        let (code, stdout, stderr) = sparklease(home.path(), false, arguments);
        assert_eq!(
            (code, stdout.as_str(), stderr.as_str()),
            (ExitCode::SUCCESS, said, "")
        );
    }
    let (_, json, _) = sparklease(home.path(), false, &["sweep", "--json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap(),
        serde_json::json!({"dry_run": false, "gone": 0, "left": 0, "stuck": 0, "sessions": []})
    );
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_session_is_forgotten_only_by_a_person_s_word() {
    let home = tempfile::tempdir().unwrap();
    let tag = "sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4";
    let mut forget = vec!["sessions", "forget", tag];
    let (code, stdout, stderr) = sparklease(home.path(), false, &forget);
    assert_eq!((code, stdout.as_str()), (ExitCode::from(1), ""));
    assert!(stderr.contains("confirmation_required"), "{stderr}");
    let next = format!("`sparklease sessions forget {tag} --i-checked`");
    assert!(stderr.contains(&next), "{stderr}");
    forget.push("--i-checked");
    let (code, _, stderr) = sparklease(home.path(), false, &forget);
    assert_eq!(code, ExitCode::from(1));
    assert!(
        stderr.contains("the ledger has no open session"),
        "{stderr}"
    );
}
