//! The Inspector's command-line mode: one process, one server and one request each, in both eras.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::install::{CLIENTS, command, output, temporary, variables};

/// A request takes 1 s, a first one that starts an engine 2 s.
const REQUEST_FOR: Duration = Duration::from_secs(120);
/// What the Inspector says with its exit code.
const OK: i32 = 0;
const TOOL_IS_ERROR: i32 = 5;

/// The Inspector with one configured server.
struct Inspector {
    home: TempDir,
}

impl Inspector {
    fn new(era: &str) -> Self {
        let home = tempfile::Builder::new()
            .prefix("sparklease-inspector-")
            .tempdir()
            .unwrap();
        let work = home.path().join("work");
        fs::create_dir(&work).unwrap();
        fs::write(work.join("orders.csv"), "id,price\n1,4.5\n2,8.0\n").unwrap();
        let server = json!({
            "type": "stdio",
            "command": env!("CARGO_BIN_EXE_sparklease"),
            "args": ["mcp"],
            "env": serde_json::Map::from_iter(
                variables(home.path()).map(|(name, path)| (name.to_owned(), json!(path)))
            ),
            "cwd": work,
            "protocolEra": era,
        });
        let config = json!({"mcpServers": {"sparklease": server}});
        fs::write(home.path().join("servers.json"), config.to_string()).unwrap();
        Self { home }
    }

    /// One request: what is on stdout, and the exit code.
    fn ask(&self, method: &str, more: &[&str]) -> (Value, i32) {
        let asked = self.start(method, more);
        let text = String::from_utf8_lossy(&asked.stdout);
        let shown = format!("{text}\n{}", String::from_utf8_lossy(&asked.stderr));
        let answer =
            serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{e}: {shown}"));
        let code = asked.status.code().unwrap_or_else(|| panic!("{shown}"));
        (answer["result"].clone(), code)
    }

    fn start(&self, method: &str, more: &[&str]) -> Output {
        let mut inspector = command(&CLIENTS.node);
        inspector
            .arg(&CLIENTS.inspector)
            .arg("--cli")
            .arg("--config")
            .arg(self.home.path().join("servers.json"))
            .args(["--server", "sparklease", "--method", method])
            .args(["--format", "json"])
            .args(more)
            // Its own files go where ours go, and it asks no keychain.
            .env("HOME", self.home.path())
            .env("MCP_INSPECTOR_SECRET_STORE", "memory");
        output(inspector, REQUEST_FOR)
    }

    /// A call of a tool: its result, and the exit code.
    fn call(&self, tool: &str, arguments: &Value) -> (Value, i32) {
        let arguments = arguments.to_string();
        self.ask(
            "tools/call",
            &["--tool-name", tool, "--tool-args-json", &arguments],
        )
    }

    /// A call that succeeds: its structured content and its text.
    fn succeeds(&self, tool: &str, arguments: &Value) -> (Value, String) {
        let (result, code) = self.call(tool, arguments);
        assert_eq!(
            (code, &result["isError"]),
            (OK, &json!(false)),
            "{tool}: {result}"
        );
        (result["structuredContent"].clone(), text_of(&result))
    }

    /// A call that fails with this code, which stands in the text too.
    fn fails(&self, tool: &str, arguments: &Value, expected: &str) {
        let (result, code) = self.call(tool, arguments);
        assert_eq!(
            (code, &result["isError"]),
            (TOOL_IS_ERROR, &json!(true)),
            "{tool}: {result}"
        );
        assert_eq!(result["structuredContent"]["code"], expected, "{result}");
        assert!(text_of(&result).starts_with(expected), "{result}");
    }
}

fn text_of(result: &Value) -> String {
    let blocks = result["content"].as_array().unwrap();
    blocks.iter().filter_map(|b| b["text"].as_str()).collect()
}

fn connects(era: &str, version: &str) {
    let (said, code) = Inspector::new(era).ask("initialize", &[]);
    assert_eq!(code, OK);
    assert_eq!(said["protocolVersion"], version, "{said}");
    assert_eq!(said["serverInfo"]["name"], "sparklease", "{said}");
    assert!(said["instructions"].as_str().unwrap().contains("query_sql"));
}

/// `--strict` looks at the schemas as the dialects of model providers do; it keeps quiet only without any remark.
fn lists_portable_tools(era: &str) {
    let inspector = Inspector::new(era);
    let (listed, code) = inspector.ask("tools/list", &[]);
    let names: Vec<&str> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(code, OK);
    assert_eq!(
        names,
        [
            "query_sql",
            "run_sql",
            "run_pyspark",
            "list_tables",
            "write_table",
            "get_statement",
            "cancel_statement",
            "open_session",
            "list_sessions",
            "close_session"
        ]
    );
    let strict = inspector.start("tools/list", &["--strict"]);
    let remarks = String::from_utf8_lossy(&strict.stderr);
    assert_eq!(strict.status.code(), Some(OK), "{remarks}");
    assert!(
        !remarks.contains("Warning: tool") && !remarks.contains("Error: tool"),
        "{remarks}"
    );
}

fn calls_every_tool(era: &str) {
    let inspector = Inspector::new(era);
    let files =
        json!({"sql": "select sum(price) as total from orders", "files": {"orders": "orders.csv"}});
    let (found, text) = inspector.succeeds("query_sql", &files);
    assert_eq!(
        (&found["status"], &found["row_count"]),
        (&json!("succeeded"), &json!(1))
    );
    assert!(text.contains("\n12.5\n"), "{text}");

    let (found, _) =
        inspector.succeeds("run_sql", &json!({"sql": "create temp view v as select 1"}));
    assert_eq!(found["status"], "succeeded");

    let code = json!({"code": "import matplotlib.pyplot as p\np.plot([1])\nprint('said')\n6 * 7"});
    let (result, exit) = inspector.call("run_pyspark", &code);
    let kinds: Vec<&Value> = result["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["type"])
        .collect();
    assert_eq!((exit, kinds), (OK, vec![&json!("text"), &json!("image")]));
    let text = text_of(&result);
    assert!(text.contains("said") && text.contains("42"), "{text}");

    let (opened, _) = inspector.succeeds("open_session", &json!({"name": "mine"}));
    assert_eq!(
        (&opened["session"], &opened["target"]),
        (&json!("mine"), &json!("local"))
    );
    // Each request is a client of its own: what an earlier one opened ended with it.
    let (listed, _) = inspector.succeeds("list_sessions", &json!({}));
    assert_eq!(listed, json!({"sessions": []}));
    inspector.fails("close_session", &json!({"session": "mine"}), "not_found");
    inspector.fails("get_statement", &json!({"statement": "st_0"}), "not_found");
    inspector.fails(
        "cancel_statement",
        &json!({"statement": "st_0"}),
        "not_found",
    );
}

fn shows_failures(era: &str) {
    let inspector = Inspector::new(era);
    inspector.fails(
        "query_sql",
        &json!({"sql": "drop table t"}),
        "policy_denied",
    );
    inspector.fails("run_pyspark", &json!({"code": "1 / 0"}), "statement_failed");
    inspector.fails("query_sql", &json!({"max_rows": 0}), "invalid_argument");
}

/// The same claims in both eras.
macro_rules! eras {
    ($($module:ident $era:literal $version:literal)*) => {$(
        mod $module {
            #[test]
            fn the_inspector_connects() {
                super::connects($era, $version);
            }

            #[test]
            fn the_inspector_lists_tools_whose_schemas_are_portable() {
                super::lists_portable_tools($era);
            }

            #[test]
            fn the_inspector_calls_every_tool() {
                super::calls_every_tool($era);
            }

            #[test]
            fn the_inspector_shows_failures() {
                super::shows_failures($era);
            }
        }
    )*};
}

eras! {
    initialize_2025_11_25 "legacy" "2025-11-25"
    discover_2026_07_28 "modern" "2026-07-28"
}

#[test]
fn the_clients_are_installed_below_the_target_folder() {
    for path in [&CLIENTS.python, &CLIENTS.node, &CLIENTS.inspector] {
        assert!(path.starts_with(temporary()) && path.exists(), "{path:?}");
    }
}
