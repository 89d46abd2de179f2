//! Questions of our own to the harness: sent and believed like a statement, with an answer that is not shown.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ended, Job, Reply};
use crate::model::{End, Error, Result};
use crate::python::{Language, Status, harness};

impl Job<'_> {
    /// Asks the harness a question of ours and takes its answer.
    ///
    /// # Errors
    /// How the statement ended, where that is without an answer.
    /// # Cancel safety
    /// As [`Job::answer`].
    pub(in crate::platform::livy) async fn ask(
        &self,
        op: &str,
        mut request: Value,
    ) -> Result<Value, Ended> {
        // Between two questions of one statement nothing else sees it.
        if self.cancel.is_cancelled() {
            return Err((End::Cancelled, None));
        }
        let nonce = Uuid::new_v4().simple().to_string();
        if let Value::Object(fields) = &mut request {
            fields.insert("op".to_owned(), json!(op));
            fields.insert("nonce".to_owned(), json!(nonce));
        }
        match self.answer(&harness::call(&request), &nonce).await {
            Reply::Envelope(envelope)
                if envelope.status == Status::Ok && envelope.lost.is_none() =>
            {
                envelope.answer.ok_or_else(|| {
                    let missing = Error::internal("the harness gave no answer");
                    (End::Failed(missing), None)
                })
            }
            reply => Err(self.end(reply, Language::Sql).await),
        }
    }

    /// Makes a frame of the kept namespace a view, or says why it is none.
    ///
    /// # Errors
    /// How the statement ended, where that is without an answer.
    /// # Cancel safety
    /// As [`Job::answer`].
    pub(in crate::platform::livy) async fn variable(
        &self,
        name: &str,
        view: &str,
    ) -> Result<Result<()>, Ended> {
        let nonce = Uuid::new_v4().simple().to_string();
        let request = json!({
            "op": "run", "nonce": nonce, "code": "", "kept": true,
            "view": { "variable": name, "name": view },
            "max_rows": 0, "max_bytes": 0, "max_figures": 0,
        });
        match self.answer(&harness::call(&request), &nonce).await {
            Reply::Envelope(envelope)
                if envelope.status != Status::Cancelled
                    && envelope.lost.is_none()
                    && !self.cancel.is_cancelled() =>
            {
                let (_, error) = envelope.into_events(Language::Python);
                Ok(error.map_or(Ok(()), Err))
            }
            reply => Err(self.end(reply, Language::Python).await),
        }
    }
}
