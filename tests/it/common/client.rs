//! A server with a real MCP client at its pipes.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam, ServerResult,
};
use rmcp::service::{
    NotificationContext, PeerRequestOptions, RequestHandle, RoleClient, RunningService,
};
use rmcp::{ClientHandler, ServiceError, ServiceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Answer, GONE_WITHIN, PATIENCE, Process, Setup};

/// The first installation downloads 200 MB and compiles nothing.
const INSTALL_FOR: Duration = Duration::from_secs(900);

/// The engine is there, or the reason why it is not.
static ENGINE: OnceCell<Result<(), String>> = OnceCell::const_new();

/// A client that remembers the progress it was told.
#[derive(Clone, Debug, Default)]
struct Listener(Arc<Mutex<Vec<ProgressNotificationParam>>>);

impl ClientHandler for Listener {
    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0.lock().unwrap().push(params);
    }
}

/// A running server and its client.
pub(crate) struct Server {
    process: Process,
    listener: Listener,
    client: RunningService<RoleClient, Listener>,
    /// The named session of every statement that names none.
    session: Option<&'static str>,
}

/// A call under way.
pub(crate) struct Pending {
    request: RequestHandle<RoleClient>,
    begun: Instant,
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Server {
    /// Starts one whose engine is installed.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::new()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(setup: Setup) -> Self {
        install_engine().await;
        Self::without_engine(setup).await
    }

    /// Starts one that is not asked to run anything.
    pub(crate) async fn without_engine(setup: Setup) -> Self {
        let (process, stdin, stdout) = Process::start(&setup);
        let listener = Listener::default();
        let greeted = tokio::time::timeout(PATIENCE, listener.clone().serve((stdout, stdin))).await;
        let client = match greeted {
            Ok(Ok(client)) => client,
            other => panic!("{:?}; the server's log:\n{}", other.err(), process.log()),
        };
        Self {
            process,
            listener,
            client,
            session: None,
        }
    }

    /// From now on every statement that names no session runs in this one, which is opened: for places where tables
    /// live and die with a session.
    pub(crate) async fn within(mut self, session: &'static str) -> Self {
        self.call("open_session", json!({"name": session}))
            .await
            .ok();
        self.session = Some(session);
        self
    }

    /// Calls a tool without waiting for its answer.
    pub(crate) async fn begin(&self, tool: &str, arguments: Value) -> Pending {
        let begun = Instant::now();
        let mut params = CallToolRequestParams::new(tool.to_owned());
        let mut arguments = arguments.as_object().expect("an object").clone();
        let runs = ["query_sql", "run_sql", "run_pyspark", "write_table"].contains(&tool);
        if let (true, Some(session)) = (runs, self.session) {
            arguments.entry("session").or_insert(json!(session));
        }
        params.arguments = Some(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let request = self
            .client
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await
            .expect("the server takes calls");
        Pending { request, begun }
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.begin(tool, arguments).await.answer().await
    }

    /// Calls a tool of a server that may be killed meanwhile: then there is no answer.
    pub(crate) async fn attempt(&self, tool: &str, arguments: Value) -> Option<Answer> {
        let begun = Instant::now();
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = Some(arguments.as_object().expect("an object").clone());
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::no_options();
        let request = self.client.send_cancellable_request(request, options).await;
        match request.ok()?.await_response().await {
            Ok(ServerResult::CallToolResult(result)) => Some(Answer::new(result, begun.elapsed())),
            _ => None,
        }
    }

    /// Calls a tool that the server does not know.
    pub(crate) async fn refused(&self, tool: &str, arguments: Value) -> String {
        match self
            .begin(tool, arguments)
            .await
            .request
            .await_response()
            .await
        {
            Err(ServiceError::McpError(error)) => error.message.into_owned(),
            other => panic!("no protocol error: {other:?}"),
        }
    }

    /// What is no tool: resources, prompts, completions.
    pub(crate) fn peer(&self) -> &rmcp::Peer<RoleClient> {
        self.client.peer()
    }

    /// `query_sql`, which succeeds.
    pub(crate) async fn sql(&self, sql: &str) -> Answer {
        self.call("query_sql", json!({"sql": sql})).await.ok()
    }

    /// `run_pyspark`, which succeeds.
    pub(crate) async fn python(&self, code: &str) -> Answer {
        self.call("run_pyspark", json!({"code": code})).await.ok()
    }

    /// `get_statement`, once the statement has ended.
    pub(crate) async fn ended(&self, statement: &str) -> Answer {
        self.call(
            "get_statement",
            json!({"statement": statement, "wait_s": PATIENCE.as_secs()}),
        )
        .await
    }

    /// Waits until a statement is in this state.
    pub(crate) async fn reaches(&self, statement: &str, state: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self
                .call(
                    "get_statement",
                    json!({"statement": statement, "wait_s": 0}),
                )
                .await;
            if now.status() == state {
                return;
            }
            assert!(
                !now.is_error && Instant::now() < deadline,
                "not {state}: {}",
                now.text
            );
        }
    }

    /// Starts a statement and gives its id.
    pub(crate) async fn launch(&self, tool: &str, mut arguments: Value) -> String {
        arguments["wait_s"] = json!(0);
        let answer = self.call(tool, arguments).await.ok();
        assert!(
            ["queued", "running"].contains(&answer.status()),
            "{}",
            answer.text
        );
        answer.statement().to_owned()
    }

    /// Starts Python that first says its process id, and then runs `code`; gives statement and process id once it
    /// runs.
    pub(crate) async fn launch_python(&self, code: &str, arguments: Value) -> (String, u32) {
        let announced = announced(code, &self.process, arguments);
        let statement = self.launch("run_pyspark", announced).await;
        let pid = announced_pid(&self.process).await;
        (statement, pid)
    }

    /// Fails unless an ordinary SQL call and an ordinary Python call work.
    pub(crate) async fn works(&self) {
        assert_eq!(self.sql("select 40 + 2 as n").await.cell(), "42");
        assert_eq!(self.python("21 * 2").await.data("value"), Some("42\n"));
    }

    /// Progress that the server has told, as number and message.
    pub(crate) fn progress(&self) -> Vec<(f64, String)> {
        let notices = self.listener.0.lock().unwrap();
        notices
            .iter()
            .map(|n| (n.progress, n.message.clone().unwrap_or_default()))
            .collect()
    }

    /// The client leaves: the server ends well, in time, and leaves nothing.
    pub(crate) async fn end(self) {
        let Self {
            mut process,
            client,
            ..
        } = self;
        // The pipes close when the client's task ends; the server's end must not wait for ours.
        let closing = tokio::spawn(client.cancel());
        let status = process.gone_within(GONE_WITHIN).await;
        assert!(status.success(), "{status}; its log:\n{}", process.log());
        closing.await.unwrap().unwrap();
    }
}

impl Pending {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Answer {
        let answered = tokio::time::timeout(PATIENCE, self.request.await_response()).await;
        match answered.expect("an answer comes in time") {
            Ok(ServerResult::CallToolResult(result)) => Answer::new(result, self.begun.elapsed()),
            other => panic!("no tool's answer: {other:?}"),
        }
    }

    /// Tells the server that nobody wants the answer any more.
    pub(crate) async fn cancel(self) {
        self.request.cancel(None).await.unwrap();
    }
}

/// The arguments for Python that writes its process id into the server's working folder before it goes on.
pub(crate) fn announced(code: &str, process: &Process, mut arguments: Value) -> Value {
    // Elsewhere Python starts in a folder of its own.
    let file = process.work().join("pid");
    let file = file.to_str().expect("a temporary folder has a plain name");
    let code = format!(
        "import os\nopen('{file}.new', 'w').write(str(os.getpid()))\nos.rename('{file}.new', '{file}')\n{code}"
    );
    arguments["code"] = json!(code);
    arguments
}

/// Waits for what `announced` writes.
pub(crate) async fn announced_pid(process: &Process) -> u32 {
    let file = process.work().join("pid");
    super::wait_until("the Python code runs", PATIENCE, || file.exists()).await;
    let pid = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    std::fs::remove_file(&file).unwrap();
    pid
}

/// The engine is there when this returns.
pub(crate) async fn install_engine() {
    let engine = ENGINE.get_or_init(install).await;
    assert_eq!(engine, &Ok(()), "the engine cannot be installed");
}

/// Runs one query on a server of its own, which installs the engine if need be.
async fn install() -> Result<(), String> {
    let server = Server::without_engine(Setup::new()).await;
    let deadline = Instant::now() + INSTALL_FOR;
    let mut answer = server.call("query_sql", json!({"sql": "select 1"})).await;
    while !answer.is_error && answer.status() != "succeeded" && Instant::now() < deadline {
        let statement = answer.statement().to_owned();
        answer = server
            .call(
                "get_statement",
                json!({"statement": statement, "wait_s": 60}),
            )
            .await;
    }
    let ready = answer.status() == "succeeded";
    let text = answer.text;
    server.end().await;
    if ready { Ok(()) } else { Err(text) }
}
