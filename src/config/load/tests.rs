//! Precedence, origins, and every way in which a configuration is wrong.
//!
//! The environment is a value here, so no test changes the process's: `figment::Jail` would, and it changes the
//! working folder of all the other tests of this binary too.

use std::path::Path;
use std::time::Duration;

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::config::units::ByteSize;
use crate::config::{Access, LogFormat, Platform};
use crate::model::TargetName;

/// A home with this text as its configuration.
fn home(text: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/sparklease");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), text).unwrap();
    home
}

fn load_with<const N: usize>(home: &TempDir, vars: [(&str, &str); N]) -> Result<Loaded> {
    load(&Environment::fake(home.path(), vars), &Flags::default())
}

/// Code, message and hint as they are shown, the home as `~`.
fn refused(home: &TempDir, result: Result<Loaded>) -> String {
    let error = result.unwrap_err();
    let text = format!("{error}\n{}", error.hint_text());
    text.replace(&*home.path().to_string_lossy(), "~")
}

const TAIL: &str =
    "Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.";

fn message(home: &TempDir, result: Result<Loaded>) -> String {
    let text = refused(home, result);
    text.strip_suffix(TAIL)
        .map_or(text.clone(), |text| text.trim_end().to_owned())
}

#[test]
fn with_no_configuration_the_only_target_is_local() {
    let home = tempfile::tempdir().unwrap();
    let loaded = load_with(&home, []).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    let names: Vec<_> = loaded
        .settings
        .targets
        .keys()
        .map(TargetName::as_str)
        .collect();
    assert_eq!(names, ["local"]);
    assert!(rows(&loaded).iter().all(|row| row.origin == "default"));
}

#[test]
fn defaults_lose_to_the_file_the_file_to_a_variable_a_variable_to_a_flag() {
    let home = home("[server]\nwait = '1s'\nrows = 11\nlog = 'warn'\nkeep = '2m'\n");
    let environment = Environment::fake(
        home.path(),
        [
            ("SPARKLEASE__SERVER__ROWS", "12"),
            ("SPARKLEASE__SERVER__LOG", "error"),
            ("SPARKLEASE__SERVER__STRUCTURED_COPY", "false"),
        ],
    );
    let mut flags = Flags::default();
    flags.set("--log", "server.log", "debug");
    let loaded = load(&environment, &flags).unwrap();
    let server = &loaded.settings.server;
    assert_eq!(
        (
            server.wait,
            server.rows,
            server.log.as_str(),
            server.structured_copy
        ),
        (Duration::from_secs(1), 12, "debug", false)
    );
    let file = home.path().join(".config/sparklease/config.toml");
    assert_eq!(loaded.origin("server.wait"), file.to_str().unwrap());
    assert_eq!(
        loaded.origin("server.rows"),
        "environment variable SPARKLEASE__SERVER__ROWS"
    );
    assert_eq!(loaded.origin("server.log"), "flag --log");
    assert_eq!(loaded.origin("server.silence"), "default");
}

#[test]
fn every_setting_can_be_written() {
    let home = home(
        "default_target = 'small'\n\
         [server]\naccess = 'read-only'\nlog_format = 'json'\nanswer_bytes = '1 MiB'\nsilence = '1h 30m'\n\
         [engine]\nmemory = '8GiB'\nspare = false\npython = 'python3.12'\nwheels = '../wheels'\n\
         [files]\nallowed = ['/data', 'here', '~/there']\n\
         [targets.small]\nplatform = 'local'\naccess = 'read-only'\nlimits = { sessions = 1, life = '1h' }\n",
    );
    let settings = load_with(&home, []).unwrap().settings;
    let folder = home.path().join(".config/sparklease");
    assert_eq!(settings.server.log_format, LogFormat::Json);
    assert_eq!(settings.server.answer_bytes, ByteSize::new(1 << 20));
    assert_eq!(settings.server.silence, Duration::from_secs(5400));
    assert_eq!(settings.engine.memory, ByteSize::new(8 << 30));
    assert_eq!(settings.engine.python.unwrap(), Path::new("python3.12"));
    assert_eq!(settings.engine.wheels.unwrap(), folder.join("../wheels"));
    assert_eq!(
        settings.files.allowed,
        [
            "/data".into(),
            folder.join("here"),
            home.path().join("there")
        ]
    );
    let target = &settings.targets[&TargetName::new("small")];
    assert_eq!(target.platform, Platform::Local);
    assert_eq!(
        (
            target.limits.sessions,
            target.limits.queue,
            target.limits.life
        ),
        (1, 100, Duration::from_secs(3600))
    );
    assert!(settings.targets.contains_key(&TargetName::new("local")));
}

#[test]
fn the_lesser_access_holds() {
    let home = home("[targets.a]\nplatform = 'local'\naccess = 'read-only'\n");
    let settings = load_with(&home, []).unwrap().settings;
    assert_eq!(settings.access(&TargetName::new("a")), Access::ReadOnly);
    assert_eq!(
        settings.access(&TargetName::new("local")),
        Access::ReadWrite
    );
    assert_eq!(settings.access(&TargetName::new("none")), Access::ReadOnly);
    let settings = load_with(&home, [("SPARKLEASE__SERVER__ACCESS", "read-only")])
        .unwrap()
        .settings;
    assert_eq!(settings.access(&TargetName::new("local")), Access::ReadOnly);
}

#[test]
fn paths_in_variables_start_at_the_working_folder_and_split_like_path() {
    let home = tempfile::tempdir().unwrap();
    let loaded = load_with(
        &home,
        [
            ("SPARKLEASE__FILES__ALLOWED", "/a:b"),
            ("SPARKLEASE_ENGINE_WHEELS", "w"),
        ],
    )
    .unwrap();
    assert_eq!(
        loaded.settings.files.allowed,
        ["/a".into(), home.path().join("b")]
    );
    assert_eq!(
        loaded.settings.engine.wheels.clone().unwrap(),
        home.path().join("w")
    );
    assert_eq!(
        loaded.origin("engine.wheels"),
        "environment variable SPARKLEASE_ENGINE_WHEELS"
    );
    let loaded = load_with(&home, [("SPARKLEASE__FILES__ALLOWED", "[\"/a:b\"]")]).unwrap();
    assert_eq!(loaded.settings.files.allowed, [Path::new("/a:b")]);
}

#[test]
fn all_problems_are_reported_together_each_with_its_place() {
    let home = home(
        "defalt_target = 'x'\n[server]\nwiat = '1s'\nrows = 0\nkeep = 30\n[targets.dev]\nplatform = 'databricks'\nwarehouse = 'w'\n[targets.\"Big One\"]\nplatform = 'local'\n[targets.local.limits]\nlife = '1000d'\nbytes = '1B'\n[engine]\nmemory = []\n",
    );
    let result = load_with(
        &home,
        [
            ("SPARKLEASE__SERVER__STRUCTURED_COPY", "yes"),
            ("SPARKLEASE__SERVR__LOG", "info"),
        ],
    );
    insta::assert_snapshot!(message(&home, result), @r#"
    configuration_invalid: the configuration has 11 problems:
      ~/.config/sparklease/config.toml, line 1: unknown key `defalt_target`; did you mean `default_target`?
      ~/.config/sparklease/config.toml, line 3: unknown key `server.wiat`; did you mean `server.wait`?
      ~/.config/sparklease/config.toml, line 4: `server.rows` is 0; it takes 1 to 10000
      ~/.config/sparklease/config.toml, line 5: `server.keep` is 30; it takes a duration with its unit, like "90s" or "5m"
      ~/.config/sparklease/config.toml, line 7: `targets.dev.platform` is "databricks"; it takes "local" or "livy", the platforms of this version
      ~/.config/sparklease/config.toml, line 9: "Big One" is no name for a target; it takes a small letter, then small letters, digits, `-` and single `_`, 64 at most
      ~/.config/sparklease/config.toml, line 12: `targets.local.limits.life` is "1000d"; it takes 1m to 7days
      ~/.config/sparklease/config.toml, line 13: `targets.local.limits.bytes` is "1B"; it takes 64KiB to 64MiB
      ~/.config/sparklease/config.toml, line 15: `engine.memory` is a list; it takes a whole number of bytes with its unit, like "24KiB" or "4GiB"
      environment: `SPARKLEASE__SERVER__STRUCTURED_COPY` is "yes"; it takes true or false
      environment: unknown key `SPARKLEASE__SERVR`; did you mean `SPARKLEASE__SERVER__LOG`?
    "#);
}

#[test]
fn a_wrong_shape_says_what_it_takes() {
    let texts = [
        "server = 5",
        "[server]\nzzz = 5",
        "[server.wait]\nseconds = 5",
        "[server]\nlog = 5",
        "[files]\nallowed = 5",
        "[files]\nallowed = [5]",
        "default_target = 5",
        "targets = 5",
        "[targets.local]\nlimits = []",
    ];
    let said: Vec<_> = texts
        .iter()
        .map(|text| {
            let home = home(text);
            message(&home, load_with(&home, [])).replace(
                "configuration_invalid: ~/.config/sparklease/config.toml, ",
                "",
            )
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    line 1: `server` is 5; it takes a table
    line 2: unknown key `server.zzz`; the keys here are: `server.access`, `server.wait`, `server.rows`, `server.answer_bytes`, `server.keep`, `server.silence`, `server.structured_copy`, `server.log`, `server.log_format`
    line 1: `server.wait` is a table; it takes a duration with its unit, like "90s" or "5m"
    line 2: `server.log` is 5; it takes a text in quotes
    line 2: `files.allowed` takes a list of folders, like ["/data"]
    line 2: `files.allowed` takes a list of folders, like ["/data"]
    line 1: `default_target` is 5; it takes a text in quotes
    line 1: `targets` is 5; it takes a table
    line 2: `targets.local.limits` is a list; it takes a table
    "#);
}

#[test]
fn a_target_without_a_platform_is_named() {
    let home = home("[targets.dev]\naccess = 'read-only'\n");
    insta::assert_snapshot!(message(&home, load_with(&home, [])), @r#"
    configuration_invalid: ~/.config/sparklease/config.toml, line 1: `targets.dev` has no platform; add platform = "local" or platform = "livy"
    "#);
}

#[test]
fn a_livy_target_has_all_its_settings() {
    let home = home(
        "[targets.dev]\nplatform = 'livy'\nurl = 'https://livy.example:8998/gateway'\nauth = 'basic'\nuser = 'ann'\n\
         secret_file = 'secrets/livy'\nca_file = '~/ca.pem'\naccess = 'read-only'\nproxy_user = 'bob'\nheartbeat = '3m'\n\
         headers = { X-Tenant = 'sales' }\nconf = { \"spark.executor.memory\" = '4g' }\n",
    );
    let loaded = load_with(&home, []).unwrap();
    let target = &loaded.settings.targets[&TargetName::new("dev")];
    let folder = home.path().join(".config/sparklease");
    assert_eq!(target.platform, Platform::Livy);
    assert_eq!(target.secret_file, Some(folder.join("secrets/livy")));
    assert_eq!(target.ca_file, Some(home.path().join("ca.pem")));
    assert_eq!(target.heartbeat, Some(Duration::from_secs(180)));
    assert_eq!(target.conf["spark.executor.memory"], "4g");
    assert_eq!(
        loaded.settings.access(&TargetName::new("dev")),
        Access::ReadOnly
    );
    let shown: Vec<String> = rows(&loaded).iter().map(|row| row.text()).collect();
    assert!(
        !shown.iter().any(|text| text.contains("sales")),
        "{shown:?}"
    );
}

#[test]
fn a_livy_target_names_everything_that_it_lacks() {
    let secret = uuid::Uuid::new_v4().to_string();
    let home = home(&format!(
        "[targets.a]\nplatform = 'livy'\n[targets.b]\nplatform = 'livy'\nurl = 'http://ann:{secret}@h'\naccess = 'read-only'\n\
         auth = 'basic'\n[targets.c]\nplatform = 'livy'\nurl = 'livy.example'\naccess = 'read-write'\nsecret = '{secret}'\n\
         [targets.local]\nurl = 'http://h'\n",
    ));
    let message = message(&home, load_with(&home, []));
    assert!(!message.contains(&secret), "{message}");
    insta::assert_snapshot!(message, @r#"
    configuration_invalid: the configuration has 8 problems:
      ~/.config/sparklease/config.toml, line 1: `targets.a` has no access; add access = "read-only" or access = "read-write"
      ~/.config/sparklease/config.toml, line 1: `targets.a` has no url; add url = "https://HOST:8998"
      ~/.config/sparklease/config.toml, line 5: `targets.b.url` holds a user; write it as `user`, and the password as `secret`
      ~/.config/sparklease/config.toml, line 7: `targets.b.auth` is "basic" and there is no secret; add secret_file, or set SPARKLEASE__TARGETS__B__SECRET
      ~/.config/sparklease/config.toml, line 7: `targets.b.auth` is "basic" and there is no user; add user = "NAME"
      ~/.config/sparklease/config.toml, line 10: `targets.c.url` does not start with https:// or http://
      ~/.config/sparklease/config.toml, line 8: `targets.c` has a secret and auth = "none"; add auth = "basic" or "bearer"
      ~/.config/sparklease/config.toml, line 14: `targets.local.url` is for platform = "livy"; take it out
    "#);
}

#[rstest]
#[case(
    "heartbeat = '0s'",
    "`targets.dev.heartbeat` is \"0s\"; it takes 10s to 1h"
)]
#[case(
    "heartbeat = '30days'",
    "`targets.dev.heartbeat` is \"30days\"; it takes 10s to 1h"
)]
#[case(
    "limits = { sessions = 0 }",
    "`targets.dev.limits.sessions` is 0; it takes 1 to 64"
)]
#[case(
    "dialect = 'fabric'",
    "`targets.dev.dialect` is \"fabric\"; it takes \"apache\""
)]
#[case(
    "auth = 'kerberos'",
    "`targets.dev.auth` is \"kerberos\"; it takes \"none\" or \"basic\" or \"bearer\""
)]
#[case(
    "limits = { warm = 3, sessions = 2 }",
    "`targets.dev.limits.warm` is 3, more than the 2 sessions that `targets.dev.limits.sessions` allows"
)]
#[case(
    "limits = { warm = 17, sessions = 20 }",
    "`targets.dev.limits.warm` is 17; it takes 0 to 16"
)]
#[case(
    "[targets.local.limits]\nwarm = 1",
    "`targets.local.limits.warm` is for targets where sessions cost money; take it out: `engine.spare` keeps a worker ready on this machine"
)]
fn an_absurd_value_of_a_livy_target_is_refused(#[case] line: &str, #[case] words: &str) {
    let home = home(&format!(
        "[targets.dev]\nplatform = 'livy'\nurl = 'https://h'\naccess = 'read-only'\n{line}\n"
    ));
    let message = message(&home, load_with(&home, []));
    assert!(message.ends_with(words), "{message}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_together() {
    let home = home(
        "default_target = 'dev'\n[server]\nlog = 'loud'\n[targets.local.limits]\nidle = '3h'\nlife = '2h'\n",
    );
    insta::assert_snapshot!(message(&home, load_with(&home, [])), @r#"
    configuration_invalid: the configuration has 3 problems:
      ~/.config/sparklease/config.toml, line 1: `default_target` is "dev", which is no target; the targets are: local
      ~/.config/sparklease/config.toml, line 3: `server.log` is "loud"; "loud" is no level; the levels are: off, error, warn, info, debug, trace
      ~/.config/sparklease/config.toml, line 5: `targets.local.limits.idle` is 3h, longer than the session's life of 2h
    "#);
}

#[test]
fn bad_toml_names_its_line() {
    let home = home("[server]\nwait = 25s\n");
    insta::assert_snapshot!(refused(&home, load_with(&home, [])), @r"
    configuration_invalid: the configuration ~/.config/sparklease/config.toml is not TOML at line 2: string values must be quoted, expected literal string
    Correct it; `sparklease config schema` lists every key.
    ");
}

#[test]
fn a_folder_as_configuration_says_so() {
    let home = tempfile::tempdir().unwrap();
    let result = load_with(&home, [("SPARKLEASE_CONFIG", ".")]);
    insta::assert_snapshot!(refused(&home, result), @r"
    configuration_invalid: the configuration ~/. is a folder, not a file
    Name a TOML file: `sparklease --config FILE …`, or set SPARKLEASE_CONFIG; `sparklease config path` prints the one that is read.
    ");
}

#[test]
fn a_named_file_must_be_there() {
    let home = tempfile::tempdir().unwrap();
    let flags = Flags::new(Some("none.toml".into()));
    let result = load(&Environment::fake(home.path(), []), &flags);
    insta::assert_snapshot!(refused(&home, result), @r"
    configuration_invalid: the configuration ~/none.toml is not there, and --config names it
    Name a TOML file: `sparklease --config FILE …`, or set SPARKLEASE_CONFIG; `sparklease config path` prints the one that is read.
    ");
}

#[test]
fn text_that_is_not_utf_8_names_its_line() {
    let home = home("");
    let file = home.path().join("c.toml");
    std::fs::write(&file, b"[server]\nlog = \"\xff\"\n").unwrap();
    let result = load_with(&home, [("SPARKLEASE_CONFIG", "c.toml")]);
    insta::assert_snapshot!(refused(&home, result), @r"
    configuration_invalid: the configuration ~/c.toml is not UTF-8 at line 2
    Save it as UTF-8 in your editor.
    ");
}

#[test]
fn a_device_that_never_ends_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let result = load_with(&home, [("SPARKLEASE_CONFIG", "/dev/zero")]);
    assert!(refused(&home, result).contains("is larger than 1 MiB"));
}

#[rstest]
#[case("wiat", Some("wait"))]
#[case("structured", Some("structured_copy"))]
#[case("zzzz", None)]
fn the_nearest_name_is_near(#[case] name: &str, #[case] near: Option<&str>) {
    assert_eq!(nearest(name, &["wait", "rows", "structured_copy"]), near);
}

#[test]
fn the_example_configuration_loads() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config.toml");
    let home = tempfile::tempdir().unwrap();
    let flags = Flags::new(Some(example.into()));
    let loaded = load(&Environment::fake(home.path(), []), &flags).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    let written = rows(&loaded)
        .iter()
        .filter(|row| row.origin != "default")
        .count();
    assert_eq!(
        written,
        rows(&loaded).len() - 2,
        "all but wheels and python are in the example"
    );
}
