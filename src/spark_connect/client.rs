//! One Spark session on one Spark Connect server, and the calls on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::proto::config_request::operation::OpType;
use super::proto::spark_connect_service_client::SparkConnectServiceClient;
use super::proto::{
    self, analyze_plan_request, analyze_plan_response, interrupt_request, release_execute_request,
};
use super::{Field, Message, Plan, Relation, error, operation, write};
use crate::model::{Error, Result};

/// PySpark's own limit. tonic's default of 4 MiB is less than one Arrow batch may be.
const MAX_MESSAGE_BYTES: usize = 128 * 1024 * 1024;
/// A loopback server that listens answers in milliseconds; a busy machine gets time.
const CONNECT_FOR: Duration = Duration::from_secs(10);
/// Short calls (configuration, interrupt, release) never wait for a query.
const CALL_FOR: Duration = Duration::from_secs(10);
/// An analysis may look into many files of a table.
const ANALYZE_FOR: Duration = Duration::from_secs(60);
/// Names us in the server's log.
const CLIENT_TYPE: &str = concat!("sparklease/", env!("CARGO_PKG_VERSION"));

/// A Spark session. Cheap to clone; the session on the server lives as long as the server or its own timeout.
#[derive(Clone)]
pub(crate) struct Client {
    stub: SparkConnectServiceClient<Channel>,
    session: Arc<str>,
}

impl Client {
    /// Connects to `http://host:port` and takes a session id of our choosing.
    ///
    /// # Errors
    /// `platform_unavailable` when nothing answers there within 10 s.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|e| Error::internal("the engine's address is not a URL").source_error(e))?
            .connect_timeout(CONNECT_FOR)
            .tcp_nodelay(true)
            .http2_adaptive_window(true);
        let channel = endpoint.connect().await.map_err(error::connect)?;
        Ok(Self {
            stub: SparkConnectServiceClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            session: Uuid::new_v4().to_string().into(),
        })
    }

    /// The Spark session's id: another client that uses it shares temp views and settings.
    pub(crate) fn session_id(&self) -> &str {
        &self.session
    }

    /// Starts an operation and returns its messages; the last one is [`Message::End`]. Dropping the receiver, or
    /// cancelling `stop`, interrupts it; it is released in any case.
    pub(crate) fn execute(&self, plan: Plan, stop: CancellationToken) -> mpsc::Receiver<Message> {
        // A few Arrow batches ahead of the reader: enough to overlap, little enough to bound memory.
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(operation::drive(self.clone(), plan, stop, sender));
        receiver
    }

    /// Asks the server to stop an operation. Returns when the server has heard, not when it has stopped.
    pub(super) async fn interrupt(&self, operation_id: Uuid) -> Result<()> {
        self.interrupt_with(
            interrupt_request::InterruptType::OperationId,
            Some(interrupt_request::Interrupt::OperationId(
                operation_id.to_string(),
            )),
        )
        .await
    }

    /// Asks the server to stop everything in this session: what Python code started has ids that we do not know.
    pub(crate) async fn interrupt_all(&self) -> Result<()> {
        self.interrupt_with(interrupt_request::InterruptType::All, None)
            .await
    }

    async fn interrupt_with(
        &self,
        kind: interrupt_request::InterruptType,
        interrupt: Option<interrupt_request::Interrupt>,
    ) -> Result<()> {
        let request = proto::InterruptRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            client_type: Some(CLIENT_TYPE.to_owned()),
            interrupt_type: kind.into(),
            interrupt,
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        bounded("interrupt", stub.interrupt(request)).await?;
        Ok(())
    }

    /// Lets the server forget an operation. Sail keeps every finished one otherwise.
    pub(super) async fn release(&self, operation_id: Uuid) -> Result<()> {
        let request = proto::ReleaseExecuteRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            operation_id: operation_id.to_string(),
            client_type: Some(CLIENT_TYPE.to_owned()),
            release: Some(release_execute_request::Release::ReleaseAll(
                release_execute_request::ReleaseAll {},
            )),
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        bounded("release", stub.release_execute(request)).await?;
        Ok(())
    }

    /// Sets a value of the session's configuration.
    pub(crate) async fn set_config(&self, pairs: &[(&str, &str)]) -> Result<()> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| proto::KeyValue {
                key: (*key).to_owned(),
                value: Some((*value).to_owned()),
            })
            .collect();
        self.config(OpType::Set(proto::config_request::Set {
            pairs,
            silent: None,
        }))
        .await?;
        Ok(())
    }

    /// Takes a value of the session's configuration back to its default.
    pub(crate) async fn unset_config(&self, key: &str) -> Result<()> {
        self.config(OpType::Unset(proto::config_request::Unset {
            keys: vec![key.to_owned()],
        }))
        .await?;
        Ok(())
    }

    /// Reads a value of the session's configuration; `None` where it has none.
    pub(crate) async fn get_config(&self, key: &str) -> Result<Option<String>> {
        let answer = self
            .config(OpType::GetOption(proto::config_request::GetOption {
                keys: vec![key.to_owned()],
            }))
            .await?;
        Ok(answer.pairs.into_iter().next().and_then(|pair| pair.value))
    }

    async fn config(&self, op: OpType) -> Result<proto::ConfigResponse> {
        let request = proto::ConfigRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            operation: Some(proto::config_request::Operation { op_type: Some(op) }),
            client_type: Some(CLIENT_TYPE.to_owned()),
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        bounded("configuration", stub.config(request)).await
    }

    /// The columns that a relation has, without running it; files may be looked into.
    ///
    /// # Errors
    /// `statement_failed` where the engine does not understand it; `platform_unavailable`.
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn schema(&self, relation: &Relation) -> Result<Vec<Field>> {
        let plan = relation.clone().rows();
        let text = plan.text().map(str::to_owned);
        let analyze = analyze_plan_request::Analyze::Schema(analyze_plan_request::Schema {
            plan: Some(plan.to_proto()),
        });
        match self.analyze(analyze, text.as_deref()).await? {
            Some(analyze_plan_response::Result::Schema(schema)) => {
                write::fields_of(schema.schema.as_ref())
            }
            _ => None,
        }
        .ok_or_else(|| Error::internal("the engine told no schema"))
    }

    /// The columns that a schema string such as `id bigint, name string` means; `None` for one without names.
    ///
    /// # Errors
    /// As [`Client::schema`].
    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn parse_ddl(&self, ddl: &str) -> Result<Option<Vec<Field>>> {
        let analyze = analyze_plan_request::Analyze::DdlParse(analyze_plan_request::DdlParse {
            ddl_string: ddl.to_owned(),
        });
        Ok(match self.analyze(analyze, Some(ddl)).await? {
            Some(analyze_plan_response::Result::DdlParse(parsed)) => {
                write::fields_of(parsed.parsed.as_ref())
            }
            _ => None,
        })
    }

    async fn analyze(
        &self,
        analyze: analyze_plan_request::Analyze,
        text: Option<&str>,
    ) -> Result<Option<analyze_plan_response::Result>> {
        let request = proto::AnalyzePlanRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            client_type: Some(CLIENT_TYPE.to_owned()),
            analyze: Some(analyze),
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        // A task of its own has a stack of its own: plans are large, and callers may be deep.
        let call = tokio::spawn(async move { Box::pin(stub.analyze_plan(request)).await });
        let call = AbortOnDropHandle::new(call);
        match tokio::time::timeout(ANALYZE_FOR, call).await {
            Ok(Ok(Ok(answer))) => Ok(answer.into_inner().result),
            Ok(Ok(Err(status))) => Err(error::from_status(&status, text)),
            Ok(Err(_)) => Err(Error::internal("the task of an analysis panicked")),
            Err(_) => Err(error::silent("analysis", ANALYZE_FOR)),
        }
    }

    pub(super) async fn start(
        &self,
        operation_id: Uuid,
        plan: &Plan,
    ) -> Result<tonic::Streaming<proto::ExecutePlanResponse>, tonic::Status> {
        let request = proto::ExecutePlanRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            operation_id: Some(operation_id.to_string()),
            plan: Some(plan.to_proto()),
            client_type: Some(CLIENT_TYPE.to_owned()),
            request_options: vec![proto::execute_plan_request::RequestOption {
                request_option: Some(
                    proto::execute_plan_request::request_option::RequestOption::ReattachOptions(
                        proto::ReattachOptions { reattachable: true },
                    ),
                ),
            }],
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        Ok(stub.execute_plan(request).await?.into_inner())
    }

    pub(super) async fn reattach(
        &self,
        operation_id: Uuid,
        last_response_id: Option<String>,
    ) -> Result<tonic::Streaming<proto::ExecutePlanResponse>, tonic::Status> {
        let request = proto::ReattachExecuteRequest {
            session_id: self.session.to_string(),
            user_context: Some(user()),
            operation_id: operation_id.to_string(),
            client_type: Some(CLIENT_TYPE.to_owned()),
            last_response_id,
            ..Default::default()
        };
        let mut stub = self.stub.clone();
        Ok(stub.reattach_execute(request).await?.into_inner())
    }
}

fn user() -> proto::UserContext {
    proto::UserContext {
        user_id: "sparklease".to_owned(),
        user_name: "sparklease".to_owned(),
        ..Default::default()
    }
}

async fn bounded<T>(
    what: &'static str,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T> {
    match tokio::time::timeout(CALL_FOR, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(error::from_status(&status, None)),
        Err(_) => Err(error::silent(what, CALL_FOR)),
    }
}
