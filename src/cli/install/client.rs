//! What is known of each client: where its file is, how an entry looks in it, which command of its own adds one.
//! Nothing is read or written here.
//!
//! The facts are those of the clients' documentation and of guides that quote it, in November 2026; no client was run.
//! A client that moves its file makes the printed place wrong, never the entry.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::merge;
use crate::config::Environment;
use crate::model::{Code, Error, Result};
use crate::sys::files::application_folder;

/// A client that starts MCP servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// Claude Code.
    ClaudeCode,
    /// Visual Studio Code with GitHub Copilot.
    #[value(name = "vscode")]
    VsCode,
    /// GitHub Copilot CLI.
    CopilotCli,
    /// Cursor.
    Cursor,
    /// OpenAI Codex.
    Codex,
    /// Claude Desktop.
    ClaudeDesktop,
}

/// How a client's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Toml,
}

impl Client {
    #[cfg(test)]
    pub(super) const ALL: [Self; 6] = [
        Self::ClaudeCode,
        Self::VsCode,
        Self::CopilotCli,
        Self::Cursor,
        Self::Codex,
        Self::ClaudeDesktop,
    ];

    /// The client's name for people.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::VsCode => "VS Code",
            Self::CopilotCli => "GitHub Copilot CLI",
            Self::Cursor => "Cursor",
            Self::Codex => "Codex",
            Self::ClaudeDesktop => "Claude Desktop",
        }
    }

    /// The word of `--client`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::VsCode => "vscode",
            Self::CopilotCli => "copilot-cli",
            Self::Cursor => "cursor",
            Self::Codex => "codex",
            Self::ClaudeDesktop => "claude-desktop",
        }
    }

    pub(super) fn syntax(self) -> Syntax {
        match self {
            Self::Codex => Syntax::Toml,
            _ => Syntax::Json,
        }
    }

    /// The table of the file that holds servers.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::VsCode => "servers",
            Self::Codex => "mcp_servers",
            Self::ClaudeCode | Self::CopilotCli | Self::Cursor | Self::ClaudeDesktop => {
                "mcpServers"
            }
        }
    }

    /// How one sees that it worked.
    pub(super) fn next(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Start a new session of Claude Code; /mcp lists the server.",
            Self::VsCode => "In VS Code run the command `MCP: List Servers` and start it.",
            Self::CopilotCli => "Start a new session of copilot; /mcp show lists the server.",
            Self::Cursor => "In Cursor's settings, under MCP, switch the server on.",
            Self::Codex => {
                "Start a new session of codex; /mcp lists the server (a project's only once codex trusts the project)."
            }
            Self::ClaudeDesktop => {
                "Quit Claude Desktop and start it again; the server is under its tools."
            }
        }
    }

    /// The file that the client reads, for one project or for all of the user's.
    ///
    /// # Errors
    /// `unsupported` for a project where the client has no such file; `configuration_invalid` without a home.
    pub(super) fn file(self, environment: &Environment, project: Option<&Path>) -> Result<PathBuf> {
        if let Some(folder) = project {
            let inside = match self {
                Self::ClaudeCode => ".mcp.json",
                Self::VsCode => ".vscode/mcp.json",
                Self::CopilotCli => ".github/mcp.json",
                Self::Cursor => ".cursor/mcp.json",
                Self::Codex => ".codex/config.toml",
                Self::ClaudeDesktop => {
                    return Err(Error::new(
                        Code::Unsupported,
                        "Claude Desktop has one configuration for all projects",
                    )
                    .hint("Run `sparklease install --client claude-desktop` without --project."));
                }
            };
            return Ok(folder.join(inside));
        }
        // Each of these moves the client's whole folder.
        let moved = match self {
            Self::ClaudeCode => Some(("CLAUDE_CONFIG_DIR", ".claude.json")),
            Self::CopilotCli => Some(("COPILOT_HOME", "mcp-config.json")),
            Self::Codex => Some(("CODEX_HOME", "config.toml")),
            Self::VsCode | Self::Cursor | Self::ClaudeDesktop => None,
        };
        if let Some((variable, file)) = moved
            && let Some(folder) = environment.path(variable)
        {
            return Ok(folder.join(file));
        }
        let (Some(home), Some(user_config)) = (environment.home(), environment.user_config())
        else {
            return Err(Error::new(
                Code::ConfigurationInvalid,
                format!(
                    "the user has no home folder, so {} has no configuration",
                    self.label()
                ),
            )
            .hint("Set HOME, or name a project: `--project FOLDER`."));
        };
        let applications = application_folder(home, user_config);
        Ok(match self {
            Self::ClaudeCode => home.join(".claude.json"),
            Self::VsCode => applications.join("Code/User/mcp.json"),
            Self::CopilotCli => home.join(".copilot/mcp-config.json"),
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::Codex => home.join(".codex/config.toml"),
            Self::ClaudeDesktop => applications.join("Claude/claude_desktop_config.json"),
        })
    }
}

/// The entry of our server in a client's file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) client: Client,
    /// The server's name there.
    pub(super) name: String,
    /// The binary.
    pub(super) command: String,
    pub(super) args: Vec<String>,
}

impl Entry {
    /// The server's fields.
    pub(super) fn fields(&self) -> Value {
        let (command, args) = (&self.command, &self.args);
        match self.client {
            Client::ClaudeCode | Client::VsCode | Client::Cursor => {
                json!({ "type": "stdio", "command": command, "args": args })
            }
            // It offers no tool of a server that names none.
            Client::CopilotCli => {
                json!({ "type": "stdio", "command": command, "args": args, "tools": ["*"] })
            }
            Client::Codex | Client::ClaudeDesktop => json!({ "command": command, "args": args }),
        }
    }

    /// A whole file with this entry alone, as it is shown.
    ///
    /// # Errors
    /// `internal`: the entry cannot be written.
    pub(super) fn text(&self) -> Result<String> {
        merge::merge("", self).map(|(text, _)| text)
    }

    /// The client's own command that adds the entry, where it has one for this scope.
    pub(super) fn add_command(&self, project: bool) -> Option<String> {
        let name = quoted(&self.name);
        let server: Vec<_> = std::iter::once(&self.command)
            .chain(&self.args)
            .map(|word| quoted(word))
            .collect();
        let server = server.join(" ");
        match (self.client, project) {
            (Client::ClaudeCode, _) => {
                let scope = if project { "project" } else { "user" };
                Some(format!("claude mcp add --scope {scope} {name} -- {server}"))
            }
            (Client::VsCode, false) => {
                let entry =
                    json!({ "name": self.name, "command": self.command, "args": self.args });
                Some(format!("code --add-mcp {}", quoted(&entry.to_string())))
            }
            (Client::CopilotCli, false) => Some(format!("copilot mcp add {name} -- {server}")),
            (Client::Codex, false) => Some(format!("codex mcp add {name} -- {server}")),
            (Client::VsCode | Client::CopilotCli | Client::Codex, true)
            | (Client::Cursor | Client::ClaudeDesktop, _) => None,
        }
    }
}

/// A word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
