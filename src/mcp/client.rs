//! A real MCP client of a server that is started as a child process: what `try` shows itself with. Plain types out.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ContentBlock, Implementation,
};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Map, Value};
use tokio::process::Command;

use crate::model::{Code, Error, Image, Result};

/// A connected client. Close it: dropped, it leaves the end of its child to the background.
pub(crate) struct Client {
    running: RunningService<RoleClient, ClientConfig>,
    pid: u32,
}

/// A tool as a client lists it.
#[derive(Clone, Debug)]
pub(crate) struct ListedTool {
    /// What a call names.
    pub name: String,
    /// For people.
    pub title: String,
}

/// A tool's answer as a client gets it.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    /// The text content.
    pub text: String,
    /// The structured content.
    pub structured: Value,
    /// The figures.
    pub images: Vec<Image>,
    /// The tool says that it failed.
    pub is_error: bool,
}

impl Client {
    /// Starts the server and says hello to it.
    ///
    /// # Errors
    /// `internal` when it does not start or does not answer.
    /// # Cancel safety
    /// Dropping the future kills the server.
    pub(crate) async fn start(command: Command) -> Result<Self> {
        let child = TokioChildProcess::new(command).map_err(|e| {
            Error::internal(format!("the server does not start: {e}")).source_error(e)
        })?;
        let pid = child
            .id()
            .ok_or_else(|| Error::internal("the server ended before it was seen"))?;
        let config = ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("sparklease-try", env!("CARGO_PKG_VERSION")),
        );
        let running = config.serve(child).await.map_err(|e| {
            Error::internal(format!("the server does not answer: {e}")).source_error(e)
        })?;
        Ok(Self { running, pid })
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The protocol's version that both agreed on.
    pub(crate) fn protocol(&self) -> String {
        self.running
            .peer_info()
            .map_or_else(String::new, |info| info.protocol_version.to_string())
    }

    /// Every tool.
    ///
    /// # Errors
    /// `internal` for what the protocol calls an error.
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn tools(&self) -> Result<Vec<ListedTool>> {
        let tools = self.running.list_all_tools().await.map_err(failed)?;
        let listed = tools.into_iter().map(|tool| ListedTool {
            title: tool.title.unwrap_or_default(),
            name: tool.name.into_owned(),
        });
        Ok(listed.collect())
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// `internal` for what the protocol calls an error; a tool's own failure is an answer.
    /// # Cancel safety
    /// Dropping the future tells the server to cancel the call.
    pub(crate) async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Result<Called> {
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = self.running.call_tool(call).await.map_err(failed)?;
        let mut text = String::new();
        let mut images = Vec::new();
        for block in result.content {
            match block {
                ContentBlock::Text(part) => text.push_str(&part.text),
                ContentBlock::Image(image) => images.push(Image {
                    bytes: BASE64
                        .decode(&image.data)
                        .map(Arc::from)
                        .map_err(|e| Error::internal("a figure is not base64").source_error(e))?,
                    mime: image.mime_type,
                }),
                // Our tools answer with nothing else.
                _ => {}
            }
        }
        Ok(Called {
            text,
            structured: result.structured_content.unwrap_or_default(),
            images,
            is_error: result.is_error.unwrap_or_default(),
        })
    }

    /// Closes the server's input and returns once its process has ended: by itself, or after 3 s each by signals.
    pub(crate) async fn close(mut self) {
        let _ = self.running.close().await;
    }
}

fn failed(error: ServiceError) -> Error {
    Error::new(
        Code::Internal,
        format!("the call came to no answer: {error}"),
    )
    .hint("Run `sparklease doctor`; `--log debug` shows what the server says.")
    .source_error(error)
}
