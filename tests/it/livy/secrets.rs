//! Secrets of a Livy target: the password or the token of the sign-in, a header's value, a variable of the environment. The
//! server repeats them wherever it can, and code prints them. They are in no output: answers, progress, logs, the other
//! commands, the ledger's files, the guardian's command line and environment.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::server::LivyServer;
use crate::common::{PATIENCE, Server, belonging_to, cache};
use crate::secrets::{assembled, secret, shown, whole};

/// Its name says what it is.
const VARIABLE: &str = "IT_LIVY_SERVICE_TOKEN";
const SECRET: &str = "SPARKLEASE__TARGETS__DEV__SECRET";
const HEADER: &str = "SPARKLEASE__TARGETS__DEV__HEADERS__X-KEY";

/// Everything that was shown, and what of it gives a secret away.
struct Exits {
    secrets: Vec<(&'static str, String)>,
    leaks: Vec<String>,
}

impl Exits {
    fn look(&mut self, place: &str, text: &str) {
        for (name, secret) in &self.secrets {
            let forms = shown(secret, text);
            if !forms.is_empty() {
                let start = text.find(secret.as_str()).unwrap_or(0).saturating_sub(200);
                let part: String = text.chars().skip(start).take(600).collect();
                self.leaks
                    .push(format!("{place} shows the {name}, {forms:?}: {part}"));
            }
        }
    }

    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.files(&path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let text = String::from_utf8_lossy(&bytes);
                self.look(&path.display().to_string(), &text);
            }
        }
    }

    fn none(&self) {
        assert!(self.leaks.is_empty(), "{}", self.leaks.join("\n\n"));
    }
}

/// A way to sign in.
struct Way {
    auth: &'static str,
    /// Whether the secret is in a file, else in a variable.
    by_file: bool,
}

/// A server that knows the secrets, and one of ours that signs in there.
struct Stage {
    livy: LivyServer,
    server: Server,
    variables: Vec<(String, String)>,
    exits: Exits,
    /// All secrets as a careless server shows them.
    planted: String,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn set(way: &Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (main, header, variable) = (secret(), secret(), secret());
        let both = format!("ann:{main}");
        let told = if way.auth == "basic" { &both } else { &main };
        let livy = LivyServer::with(
            &[
                "--engine",
                "sail",
                "--auth",
                way.auth,
                "--require-header",
                &format!("X-Key={header}"),
            ],
            &[("LIVY_TEST_SECRET", told)],
        )
        .await;
        let mut variables = vec![
            (VARIABLE.to_owned(), variable.clone()),
            ("SPARKLEASE__SERVER__LOG".to_owned(), "trace".to_owned()),
        ];
        let mut more = format!("auth = \"{}\"\n", way.auth);
        if way.auth == "basic" {
            more += "user = \"ann\"\n";
        }
        if way.by_file {
            let file = folder.path().join("secret");
            std::fs::write(&file, format!("{main}\n")).unwrap();
            more += &format!("secret_file = {file:?}\nheaders = {{ X-Key = \"{header}\" }}\n");
        } else {
            variables.push((SECRET.to_owned(), main.clone()));
            variables.push((HEADER.to_owned(), header.clone()));
        }
        let setup = variables
            .iter()
            .fold(livy.setup_with(&more), |setup, (name, value)| {
                setup.variable(name, value)
            });
        let mut secrets = vec![("variable", variable), ("header", header), ("secret", main)];
        if way.auth == "basic" {
            secrets.push(("base64 of user and password", STANDARD.encode(&both)));
        }
        let planted: Vec<&str> = secrets.iter().map(|(_, secret)| secret.as_str()).collect();
        Self {
            planted: planted.join(" "),
            server: Server::without_engine(setup).await,
            livy,
            variables,
            exits: Exits {
                secrets,
                leaks: Vec::new(),
            },
            _folder: folder,
        }
    }

    /// Calls a tool, whatever comes of it.
    async fn call(&mut self, place: &str, tool: &str, arguments: Value) -> String {
        let text = whole(&self.server.call(tool, arguments).await);
        self.exits.look(place, &text);
        text
    }

    /// The server answers so from now on, and a query meets it.
    async fn meets(&mut self, place: &str, rule: Value) -> String {
        self.livy.fault(rule).await;
        let text = self
            .call(place, "query_sql", json!({"sql": "select 1"}))
            .await;
        self.livy
            .admin("DELETE", "/__test/faults", &Value::Null)
            .await;
        text
    }

    /// What another command shows.
    async fn command(&mut self, arguments: &[&str]) -> String {
        let home = self.server.home().to_owned();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SPARKLEASE_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(home.join("work"))
            .env("SPARKLEASE_CONFIG", home.join("config.toml"))
            .env("SPARKLEASE_DATA_DIR", home.join("data"))
            .env("SPARKLEASE_CACHE_DIR", cache())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        let ran = tokio::time::timeout(PATIENCE, command.output()).await;
        let ran = ran.expect("the command ends").unwrap();
        let text = format!(
            "{}\n{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        self.exits.look(&arguments.join(" "), &text);
        text
    }

    /// Every command, as text and as JSON.
    async fn commands(&mut self) {
        for arguments in [
            &["doctor"][..],
            &["doctor", "--json"],
            &["sessions"],
            &["sessions", "--json"],
            &["sweep", "--dry-run"],
            &["sweep", "--json"],
            &["config", "show"],
            &["config", "show", "--json"],
            &["sql", "--target", "dev", "select 1 as x"],
        ] {
            self.command(arguments).await;
        }
    }

    /// The guardian, as every process of this user sees it.
    fn guardian(&mut self) {
        let found: Vec<u32> = belonging_to(self.server.home())
            .into_iter()
            .filter(|(_, command)| command.contains(" guard --"))
            .map(|(pid, _)| pid)
            .collect();
        assert_eq!(found.len(), 1, "one guardian");
        for what in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{}/{what}", found[0])).unwrap();
            let text = String::from_utf8_lossy(&bytes).replace('\0', "\n");
            assert!(!text.is_empty());
            self.exits.look(&format!("the guardian's {what}"), &text);
        }
    }

    async fn end(mut self) {
        let progress = format!("{:?}", self.server.progress());
        self.exits.look("progress", &progress);
        let log = self.server.log();
        assert!(
            log.contains("TRACE") || log.contains("DEBUG"),
            "it logs a lot: {log}"
        );
        self.exits.look("log", &log);
        let data = self.server.home().join("data");
        assert!(data.join("ledger").is_dir(), "the ledger is there");
        self.exits.files(&data);
        self.exits.none();
        self.server.end().await;
        self.livy.empties().await;
        self.livy.end().await;
    }
}

/// Refusals of every form, at the first call of a target, which nobody has signed in to yet.
async fn refusals(stage: &mut Stage) {
    let p = stage.planted.clone();
    let url = format!("https://livy.example/?key={}", p.replace(' ', "&key="));
    let every = |more: Value| {
        let mut rule =
            json!({"fault": "answer", "times": 0, "path": "/(version|sessions.*)", "status": 500});
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    for (place, rule) in [
        (
            "sign-in refused",
            every(json!({"status": 401, "json": {"msg": p}, "headers": {
            "WWW-Authenticate": format!("Basic realm=\"{p}\"")}})),
        ),
        (
            "forbidden",
            every(json!({"status": 403, "json": {"msg": p}})),
        ),
        (
            "redirect",
            every(json!({"status": 302, "headers": {"Location": url}})),
        ),
        (
            "not found",
            every(json!({"status": 404, "text": format!("<html><title>{p}</title>{p}</html>")})),
        ),
        ("bad request", every(json!({"status": 400, "json": p}))),
        (
            "broken",
            every(json!({"status": 500, "json": format!("java.lang.Exception: {p}\n\tat {p}")})),
        ),
        ("text", every(json!({"status": 500, "text": p}))),
        (
            "no JSON",
            every(json!({"status": 200, "text": p, "content_type": "text/plain"})),
        ),
        (
            "a page",
            every(json!({"status": 200, "text": format!("<html><h1>{p}</h1></html>")})),
        ),
        (
            "create refused",
            json!({"fault": "answer", "times": 0, "method": "POST", "path": "/sessions", "status": 400,
                "json": {"msg": format!("Rejected, Reason: {p}")}}),
        ),
        (
            "unknown state",
            json!({"fault": "state_word", "times": 0, "path": "/sessions/.*", "word": stage.exits.secrets[0].1}),
        ),
        (
            "a header of an answer",
            json!({"fault": "plant", "times": 0, "where": "header", "path": "/version", "text": p}),
        ),
    ] {
        let text = stage.meets(place, rule).await;
        if !matches!(place, "a header of an answer") {
            assert!(text.contains("error_id"), "{place} is an error: {text}");
        }
        if matches!(place, "create refused") {
            assert!(text.contains("«redacted:"), "{place}: {text}");
        }
    }
}

/// A session whose log and answers hold them, and code that shows them.
async fn sessions(stage: &mut Stage) {
    let p = stage.planted.clone();
    for (place, rule) in [
        (
            "log of a session",
            json!({"fault": "plant", "times": 0, "where": "log", "path": "/sessions/[^/]*", "text": p}),
        ),
        (
            "fields of a session",
            json!({"fault": "plant", "times": 0, "where": "body", "method": "GET", "path": "/sessions/[^/]*", "text": p}),
        ),
    ] {
        stage.livy.fault(rule).await;
        let code = json!({"code": "import time; time.sleep(1.2)\n'slept'"});
        let text = stage.call(place, "run_pyspark", code).await;
        assert!(text.contains("slept"), "{text}");
        stage.call(place, "list_sessions", json!({})).await;
    }
    stage
        .livy
        .admin("DELETE", "/__test/faults", &Value::Null)
        .await;
    // A session that dies with them as its last words.
    let alive = stage.livy.sessions().await;
    for session in alive.iter().filter(|s| s["listed"] == json!(true)) {
        let path = format!("/__test/sessions/{}", session["name"].as_str().unwrap());
        let log = format!("{path}/log");
        for secret in stage.exits.secrets.clone() {
            let line = json!({"line": format!("WARN conf {}", secret.1)});
            stage.livy.admin("POST", &log, &line).await;
        }
    }
    let text = stage
        .call(
            "last words",
            "run_pyspark",
            json!({"code": "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"}),
        )
        .await;
    assert!(
        text.contains("session_lost") && text.contains("«redacted:"),
        "{text}"
    );
    // An answer in place of ours.
    for place in ["result", "error"] {
        // A session that is ready: in one that starts the harness itself would meet the fault.
        stage.server.works().await;
        let rule = json!({"fault": "plant", "where": "body", "method": "GET", "path": ".*/statements/.*", "text": p, "times": 0});
        stage.livy.fault(rule).await;
        let code = match place {
            "result" => "import time; time.sleep(0.3)\n1",
            _ => "import time; time.sleep(0.3)\n1 / 0",
        };
        let text = stage
            .call(place, "run_pyspark", json!({"code": code}))
            .await;
        assert!(text.contains("session_lost"), "{text}");
        stage
            .livy
            .admin("DELETE", "/__test/faults", &Value::Null)
            .await;
    }
    for (name, secret) in stage.exits.secrets.clone() {
        let s = assembled(&secret);
        for code in [
            "print(s)",
            "s",
            "s.encode().hex()",
            "import sys; print(s, file=sys.stderr)",
            "import os; _ = os.write(1, s.encode())",
            "spark.createDataFrame([(s, 1)], 'a string, b int')",
            "spark.createDataFrame([(c,) for c in s], 'a string')",
            "spark.sql(\"select '\" + s + \"' as a\")",
            "spark.sql('select * from `' + s + '`')",
            "raise ValueError(s)",
            "raise type('E' + s, (Exception,), {})('x')",
            "import warnings; warnings.warn(s)",
        ] {
            let place = format!("{name} by {code}");
            let text = stage
                .call(&place, "run_pyspark", json!({"code": format!("{s}{code}")}))
                .await;
            assert!(text.contains("«redacted:"), "{place}: {text}");
        }
        for (tool, arguments) in [
            (
                "query_sql",
                json!({"sql": format!("select '{secret}' as a")}),
            ),
            (
                "query_sql",
                json!({"sql": format!("select * from `{secret}`")}),
            ),
            (
                "query_sql",
                json!({"sql": "select :p as a", "params": {"p": secret}}),
            ),
            ("query_sql", json!({"sql": "select 1", "target": secret})),
            ("get_statement", json!({"statement": secret})),
        ] {
            stage
                .call(&format!("{name} in {tool}"), tool, arguments)
                .await;
        }
    }
}

async fn nothing_is_shown(way: Way) {
    let mut stage = Stage::set(&way).await;
    // Before anything was asked of the server: what is configured is known already.
    for (name, secret) in stage.exits.secrets.clone() {
        let place = format!("{name} before the first sign-in");
        let arguments = json!({"sql": "select 1", "target": secret});
        stage.call(&place, "query_sql", arguments).await;
    }
    refusals(&mut stage).await;
    stage.commands().await;
    sessions(&mut stage).await;
    stage.commands().await;
    stage.guardian();
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_a_variable_is_shown_nowhere() {
    nothing_is_shown(Way {
        auth: "basic",
        by_file: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_is_shown_nowhere() {
    nothing_is_shown(Way {
        auth: "bearer",
        by_file: true,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_wrong_configuration_is_not_repeated() {
    let secret = secret();
    let number: String = secret
        .bytes()
        .map(|b| char::from(b'1' + b % 9))
        .take(18)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let base = "[targets.dev]\nplatform = \"livy\"\naccess = \"read-only\"\nurl = \"http://127.0.0.1:9\"\n";
    for (wrong, hidden) in [
        (
            format!("auth = \"basic\"\nsecret = \"{secret}\"\n"),
            &secret,
        ),
        (format!("auth = \"{secret}\"\n"), &secret),
        (format!("auth = \"bearer\"\nsecret = {number}\n"), &number),
        (format!("headers = {{ X-Key = {number} }}\n"), &number),
        (
            format!("headers = {{ \"X Key\" = \"{secret}\" }}\n"),
            &secret,
        ),
        (format!("secrets = \"{secret}\"\n"), &secret),
        (format!("password = \"{secret}\"\n"), &secret),
        (format!("auth = \"bearer\"\nsecret = \"{secret}\n"), &secret),
        (
            format!("auth = \"bearer\"\nsecret = \"{secret}\\u0007x\"\n"),
            &secret,
        ),
    ] {
        std::fs::write(&config, format!("{base}{wrong}")).unwrap();
        for arguments in [
            &["config", "show"][..],
            &["doctor", "--target", "dev"],
            &["sql", "--target", "dev", "select 1"],
        ] {
            let ran = tokio::process::Command::new(env!("CARGO_BIN_EXE_sparklease"))
                .args(arguments)
                .env("SPARKLEASE_CONFIG", &config)
                .env("SPARKLEASE_DATA_DIR", folder.path().join("data"))
                .env("SPARKLEASE_CACHE_DIR", cache())
                .output()
                .await
                .unwrap();
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            );
            assert!(!text.is_empty());
            assert!(
                !text.contains(hidden.as_str()),
                "{wrong} by {arguments:?}: {text}"
            );
        }
    }
}
