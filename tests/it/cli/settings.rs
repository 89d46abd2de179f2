//! The commands that say how things are: `sessions`, `doctor`, `config`, `engine`, `install`, `completions`; and no
//! command at all.

use std::path::Path;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::User;
use crate::common::{PATIENCE, Server};

const CLIENTS: [&str; 6] = [
    "claude-code",
    "vscode",
    "copilot-cli",
    "cursor",
    "codex",
    "claude-desktop",
];

const BINARY: &str = env!("CARGO_BIN_EXE_sparklease");

#[tokio::test(flavor = "multi_thread")]
async fn sessions_lists_the_worker_of_a_running_server() {
    let (user, server) = (User::new().await, Server::start().await);
    server.python("1").await;
    let worker = server.worker();
    // Those of other tests are listed as well.
    let document = user.run(&["sessions", "--json"]).await.json();
    let of_it = |key: &str, pid: u32| -> Vec<Value> {
        let all = document["sessions"].as_array().unwrap();
        all.iter()
            .filter(|s| s[key] == json!(pid))
            .cloned()
            .collect()
    };
    let listed = of_it("pid", worker);
    assert_eq!(listed, of_it("started_by", server.pid()));
    assert_eq!(listed.len(), 1, "{document}");
    assert_eq!(listed[0]["left_behind"], json!(false));
    assert!(listed[0]["memory_bytes"].as_u64().unwrap() > 1_000_000);
    let table = user.run(&["sessions"]).await.printed();
    let word = worker.to_string();
    assert!(table.lines().any(|line| line.starts_with(&word)), "{table}");
    server.end().await;
}

/// The checks of `doctor`, without that of other processes: tests that kill servers run beside this one.
async fn checks(user: &User, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ran = user.run(&[&["doctor", "--json"], arguments].concat()).await;
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let (others, checks): (Vec<Value>, Vec<Value>) = document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .partition(|check| check["what"] == "processes");
        assert_eq!((others.len(), ran.stderr.as_str()), (1, ""));
        if others[0]["verdict"] == "ok" {
            assert_eq!(document["ok"] == true, ran.code == Some(0));
            return (checks, ran.code);
        }
        assert!(Instant::now() < deadline, "{others:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_a_good_set_up_good() {
    let user = User::new().await;
    let (found, code) = checks(&user, &[]).await;
    let unwell: Vec<_> = found.iter().filter(|c| c["verdict"] != "ok").collect();
    assert_eq!((code, unwell.len()), (Some(0), 1), "{found:?}");
    assert_eq!(unwell[0]["verdict"], "warn");
    let right = "run_pyspark runs with your own rights on this machine";
    assert_eq!(unwell[0]["found"], right);

    user.configure("[server]\naccess = \"read-only\"\n");
    let (found, code) = checks(&user, &[]).await;
    assert!(found.iter().all(|c| c["verdict"] == "ok"), "{found:?}");
    assert_eq!(code, Some(0));
    let answered = found.iter().filter_map(|c| c["found"].as_str());
    let mut answered = answered.filter(|found| found.contains("answered `select 1`"));
    assert!(answered.next().is_some(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_its_place() {
    let user = User::new().await;
    user.configure("[server]\nwait = \"5s\"\nnonsense = 1\nrows = \"many\"\n");
    let file = user.config().display().to_string();
    let unknown = format!("{file}, line 3: unknown key `server.nonsense`");
    let wrong = format!("{file}, line 4: ");
    let (found, code) = checks(&user, &[]).await;
    assert_eq!((code, found.len()), (Some(1), 1), "{found:?}");
    let text = found[0]["found"].as_str().unwrap();
    assert!(text.contains(&unknown) && text.contains(&wrong), "{text}");
    for arguments in [
        &["config", "show"][..],
        &["sql", "select 1"],
        &["run", "-"],
        &["try"],
        &["mcp"],
    ] {
        let said = user.run(arguments).await.failed(2, "configuration_invalid");
        assert!(said.contains(&unknown) && said.contains(&wrong), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_a_folder_or_not_there_is_named() {
    let user = User::new().await;
    let said = user.run(&["config", "show", "--config", "."]).await;
    let said = said.failed(2, "configuration_invalid");
    assert!(said.contains(" is a folder, not a file\n"), "{said}");
    let said = user.run(&["config", "show", "--config", "no.toml"]).await;
    let said = said.failed(2, "configuration_invalid");
    assert!(said.contains("no.toml"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_names_where_each_setting_came_from() {
    let mut user = User::new().await;
    user.export("SPARKLEASE__SERVER__ROWS", "7");
    let document = user
        .run(&["config", "show", "--json", "--log", "warn"])
        .await
        .json();
    let row = |key: &str| {
        let mut rows = document.as_array().unwrap().iter();
        let row = rows.find(|row| row["key"] == key).unwrap();
        (
            row["value"].clone(),
            row["origin"].as_str().unwrap().to_owned(),
        )
    };
    let file = user.config().display().to_string();
    assert_eq!(
        row("server.rows"),
        (
            json!(7),
            "environment variable SPARKLEASE__SERVER__ROWS".to_owned()
        )
    );
    assert_eq!(row("engine.spare"), (json!(false), file.clone()));
    assert_eq!(row("server.log"), (json!("warn"), "flag --log".to_owned()));
    assert_eq!(row("server.wait"), (json!("25s"), "default".to_owned()));
    let table = user.run(&["config", "show"]).await.printed();
    assert!(
        table.contains("server.rows\t7\tenvironment variable SPARKLEASE__SERVER__ROWS\n"),
        "{table}"
    );

    let paths = user.run(&["config", "path", "--json"]).await.json();
    assert_eq!(paths["config"], json!({"path": file, "exists": true}));
    let schema = user.run(&["config", "schema"]).await.json();
    let properties: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        properties,
        ["default_target", "server", "files", "engine", "targets"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installed_engine_is_described() {
    let user = User::new().await;
    let status = user.run(&["engine", "status", "--json"]).await.json();
    assert_eq!(status["installed"], true);
    assert!(
        Path::new(status["python"].as_str().unwrap()).is_file(),
        "{status}"
    );
    assert_eq!(status["packages"]["pysail"], status["engine_version"]);
    assert!(status["bytes"].as_u64().unwrap() > 100_000_000, "{status}");
}

/// The server's entry in a client's file, whatever the file's language and table are.
fn entry(text: &str, toml: bool) -> Value {
    let document: Value = if toml {
        toml::from_str(text).unwrap()
    } else {
        serde_json::from_str(text).unwrap()
    };
    let mut tables = document.as_object().unwrap().values();
    let entry = tables.find_map(|table| table.get("sparklease"));
    entry.unwrap_or_else(|| panic!("{text}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn install_prints_or_writes_the_path_of_this_binary_for_each_client() {
    let user = User::new().await;
    for client in CLIENTS {
        let toml = client == "codex";
        let advice = user.run(&["install", "--client", client]).await.printed();
        assert!(advice.contains(BINARY), "{advice}");
        let plan = user
            .run(&["install", "--client", client, "--json"])
            .await
            .json();
        let printed = entry(plan["text"].as_str().unwrap(), toml);
        assert_eq!(
            (&printed["command"], &printed["args"]),
            (&json!(BINARY), &json!(["mcp"]))
        );
        let file = Path::new(plan["file"].as_str().unwrap());
        assert!(
            file.starts_with(user.home.path()) && !file.exists(),
            "{plan}"
        );

        // What a client has already stays.
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let (before, kept) = if toml {
            ("# mine\nmodel = \"m\"\n", "# mine\nmodel = \"m\"")
        } else {
            ("{\"mine\": 1}", "\"mine\": 1")
        };
        std::fs::write(file, before).unwrap();
        let outcome = |done: Value| done["outcome"].as_str().unwrap().to_owned();
        let write = ["install", "--client", client, "--write", "--json"];
        let done = user.run(&write).await.json();
        let backup = done["backup"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(backup).unwrap(), before);
        assert_eq!(outcome(done), "added");
        let written = std::fs::read_to_string(file).unwrap();
        assert_eq!(entry(&written, toml), printed);
        assert!(written.contains(kept), "{written}");
        assert_eq!(outcome(user.run(&write).await.json()), "unchanged");
        assert_eq!(std::fs::read_to_string(file).unwrap(), written);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_know_the_commands() {
    let user = User::new().await;
    let script = user.run(&["completions", "bash"]).await.printed();
    assert!(script.starts_with("_sparklease() {"), "{script}");
    for command in [
        "try", "mcp", "sql", "run", "sessions", "doctor", "config", "engine", "install",
    ] {
        assert!(
            script.contains(&format!("sparklease__subcmd__{command})")),
            "{command}: {script}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_serves_mcp_where_stdin_is_no_terminal() {
    let user = User::new().await;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}});
    let ran = user.feed(&[], format!("{hello}\n")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["serverInfo"]["name"], "sparklease");
}
