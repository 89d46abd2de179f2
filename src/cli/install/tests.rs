//! What each client is told, and real merges in temporary folders.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn args(client: Client) -> Args {
    Args {
        client,
        write: false,
        name: "sparklease".to_owned(),
        project: None,
    }
}

fn plan(home: &Path, args: &Args) -> Plan {
    Plan::new(
        args,
        &Environment::fake(home, []),
        Path::new("/opt/spark lease/sparklease"),
        None,
    )
    .unwrap()
}

fn advice(client: Client) -> String {
    plan(Path::new("/home/someone"), &args(client))
        .advice()
        .unwrap()
}

#[test]
fn advice_for_claude_code() {
    insta::assert_snapshot!(advice(Client::ClaudeCode), @r#"
    Claude Code, for all your projects: put this into /home/someone/.claude.json

    {
      "mcpServers": {
        "sparklease": {
          "type": "stdio",
          "command": "/opt/spark lease/sparklease",
          "args": [
            "mcp"
          ]
        }
      }
    }

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client claude-code --write

    or use Claude Code's own command:

      claude mcp add --scope user sparklease -- '/opt/spark lease/sparklease' mcp

    Start a new session of Claude Code; /mcp lists the server.
    "#);
}

#[test]
#[cfg(target_os = "linux")]
fn advice_for_vscode() {
    insta::assert_snapshot!(advice(Client::VsCode), @r#"
    VS Code, for all your projects: put this into /home/someone/.config/Code/User/mcp.json

    {
      "servers": {
        "sparklease": {
          "type": "stdio",
          "command": "/opt/spark lease/sparklease",
          "args": [
            "mcp"
          ]
        }
      }
    }

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client vscode --write

    or use VS Code's own command:

      code --add-mcp '{"name":"sparklease","command":"/opt/spark lease/sparklease","args":["mcp"]}'

    In VS Code run the command `MCP: List Servers` and start it.
    "#);
}

#[test]
fn advice_for_copilot_cli() {
    insta::assert_snapshot!(advice(Client::CopilotCli), @r#"
    GitHub Copilot CLI, for all your projects: put this into /home/someone/.copilot/mcp-config.json

    {
      "mcpServers": {
        "sparklease": {
          "type": "stdio",
          "command": "/opt/spark lease/sparklease",
          "args": [
            "mcp"
          ],
          "tools": [
            "*"
          ]
        }
      }
    }

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client copilot-cli --write

    or use GitHub Copilot CLI's own command:

      copilot mcp add sparklease -- '/opt/spark lease/sparklease' mcp

    Start a new session of copilot; /mcp show lists the server.
    "#);
}

#[test]
fn advice_for_cursor() {
    insta::assert_snapshot!(advice(Client::Cursor), @r#"
    Cursor, for all your projects: put this into /home/someone/.cursor/mcp.json

    {
      "mcpServers": {
        "sparklease": {
          "type": "stdio",
          "command": "/opt/spark lease/sparklease",
          "args": [
            "mcp"
          ]
        }
      }
    }

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client cursor --write

    In Cursor's settings, under MCP, switch the server on.
    "#);
}

#[test]
fn advice_for_codex() {
    insta::assert_snapshot!(advice(Client::Codex), @r#"
    Codex, for all your projects: put this into /home/someone/.codex/config.toml

    [mcp_servers.sparklease]
    command = "/opt/spark lease/sparklease"
    args = ["mcp"]

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client codex --write

    or use Codex's own command:

      codex mcp add sparklease -- '/opt/spark lease/sparklease' mcp

    Start a new session of codex; /mcp lists the server (a project's only once codex trusts the project).
    "#);
}

#[test]
#[cfg(target_os = "linux")]
fn advice_for_claude_desktop() {
    insta::assert_snapshot!(advice(Client::ClaudeDesktop), @r#"
    Claude Desktop, for all your projects: put this into /home/someone/.config/Claude/claude_desktop_config.json

    {
      "mcpServers": {
        "sparklease": {
          "command": "/opt/spark lease/sparklease",
          "args": [
            "mcp"
          ]
        }
      }
    }

    or let it be merged there, all else kept:

      '/opt/spark lease/sparklease' install --client claude-desktop --write

    Quit Claude Desktop and start it again; the server is under its tools.
    "#);
}

#[test]
fn a_project_has_a_file_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().canonicalize().unwrap();
    let mut told = Vec::new();
    for client in Client::ALL {
        let args = Args {
            project: Some(".".into()),
            ..args(client)
        };
        let plan = Plan::new(
            &args,
            &Environment::fake(&root, []),
            Path::new("/opt/sparklease"),
            None,
        );
        told.push(match plan {
            Ok(plan) => format!(
                "{} | {}",
                plan.file.strip_prefix(&root).unwrap().display(),
                plan.entry.add_command(true).unwrap_or_default()
            ),
            Err(error) => format!("{error} | {}", error.hint_text()),
        });
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    .mcp.json | claude mcp add --scope project sparklease -- /opt/sparklease mcp
    .vscode/mcp.json | 
    .github/mcp.json | 
    .cursor/mcp.json | 
    .codex/config.toml | 
    unsupported: Claude Desktop has one configuration for all projects | Run `sparklease install --client claude-desktop` without --project.
    ");
}

#[test]
fn a_clients_own_variable_moves_its_file() {
    let home = Path::new("/home/someone");
    let environment = Environment::fake(
        home,
        [
            ("CODEX_HOME", "/c"),
            ("COPILOT_HOME", "/p"),
            ("CLAUDE_CONFIG_DIR", "/l"),
        ],
    );
    let file = |client: Client| client.file(&environment, None).unwrap();
    assert_eq!(file(Client::Codex), Path::new("/c/config.toml"));
    assert_eq!(file(Client::CopilotCli), Path::new("/p/mcp-config.json"));
    assert_eq!(file(Client::ClaudeCode), Path::new("/l/.claude.json"));
}

#[test]
fn the_configuration_that_was_named_is_named_to_the_client_with_its_full_path() {
    let plan = Plan::new(
        &args(Client::Codex),
        &Environment::fake(Path::new("/home/someone"), []),
        Path::new("/opt/sparklease"),
        Some(Path::new("dev.toml")),
    );
    assert_eq!(
        plan.unwrap().entry.args,
        ["mcp", "--config", "/home/someone/dev.toml"]
    );
}

#[test]
fn a_project_that_is_no_folder_is_refused() {
    let args = Args {
        project: Some("none".into()),
        ..args(Client::Cursor)
    };
    let error = Plan::new(
        &args,
        &Environment::fake(Path::new("/h"), []),
        Path::new("/s"),
        None,
    )
    .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.message(), "--project /h/none is not a folder");
}

#[test]
fn every_client_gets_a_file_that_a_second_write_leaves_alone() {
    let home = tempfile::tempdir().unwrap();
    for client in Client::ALL {
        let plan = plan(home.path(), &args(client));
        assert_eq!(
            plan.write().unwrap(),
            Done {
                outcome: Outcome::Added,
                backup: None
            }
        );
        let text = std::fs::read_to_string(&plan.file).unwrap();
        assert_eq!(text, plan.entry.text().unwrap());
        assert_eq!(
            plan.write().unwrap(),
            Done {
                outcome: Outcome::Unchanged,
                backup: None
            }
        );
        assert_eq!(std::fs::read_to_string(&plan.file).unwrap(), text);
    }
}

#[test]
fn a_write_keeps_a_copy_and_the_files_rights() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".cursor/mcp.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\"mcpServers\":{\"other\":{}}}").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(file.with_file_name("mcp.json.sparklease-backup"), "older").unwrap();
    let plan = plan(home.path(), &args(Client::Cursor));
    let done = plan.write().unwrap();
    assert_eq!(done.outcome, Outcome::Added);
    let backup = done.backup.clone().unwrap();
    assert_eq!(backup, file.with_file_name("mcp.json.sparklease-backup-2"));
    assert_eq!(
        std::fs::read_to_string(&backup).unwrap(),
        "{\"mcpServers\":{\"other\":{}}}"
    );
    for path in [&file, &backup] {
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written["mcpServers"]["other"], json!({}));
    let shown = plan
        .report(&done)
        .replace(&*home.path().to_string_lossy(), "~");
    insta::assert_snapshot!(shown, @r"
    Added sparklease to ~/.cursor/mcp.json (Cursor, for all your projects).
    The file as it was: ~/.cursor/mcp.json.sparklease-backup-2
    In Cursor's settings, under MCP, switch the server on.
    ");
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_with_comments_is_refused_and_untouched() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/Code/User/mcp.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{\n  // mine\n}").unwrap();
    let error = plan(home.path(), &args(Client::VsCode))
        .write()
        .unwrap_err();
    let shown = format!("{error}\n{}", error.hint_text());
    insta::assert_snapshot!(shown.replace(&*home.path().to_string_lossy(), "~"), @r#"
    configuration_invalid: ~/.config/Code/User/mcp.json has comments, which would be lost
    Run `code --add-mcp '{"name":"sparklease","command":"/opt/spark lease/sparklease","args":["mcp"]}'`, or add the entry by hand: `'/opt/spark lease/sparklease' install --client vscode`.
    "#);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\n  // mine\n}");
    assert_eq!(
        std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
        1
    );
}

/// The files of `examples/`, with the path that they stand for.
#[test]
fn the_examples_are_what_install_prints() {
    let files = [
        (Client::ClaudeCode, "claude-code.mcp.json"),
        (Client::VsCode, "vscode.mcp.json"),
        (Client::CopilotCli, "copilot-cli.mcp-config.json"),
        (Client::Cursor, "cursor.mcp.json"),
        (Client::Codex, "codex.config.toml"),
        (
            Client::ClaudeDesktop,
            "claude-desktop.claude_desktop_config.json",
        ),
    ];
    assert_eq!(files.map(|(client, _)| client), Client::ALL);
    for (client, file) in files {
        let entry = Entry {
            client,
            name: "sparklease".to_owned(),
            command: "/path/to/sparklease".to_owned(),
            args: vec!["mcp".to_owned()],
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("examples")
            .join(file);
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, entry.text().unwrap(), "examples/{file}");
    }
}
