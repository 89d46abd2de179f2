//! What the tour calls, in order. Each call's outcome is checked: a tour that shows a failure as if it were none
//! would be worse than none.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::inputs::Input;
use super::stage::Stage;
use crate::cli::report::save_figure;
use crate::mcp::{Called, Client};
use crate::model::{Code, Error, Result};

/// How long one call waits for its statement, in seconds: the first import of PySpark on a slow machine takes long.
pub(super) const WAIT_S: u64 = 120;

/// The calls of one tour.
pub(super) struct Steps<'a, 'o> {
    pub(super) client: &'a Client,
    pub(super) stage: &'a mut Stage<'o>,
    pub(super) input: &'a Input,
    /// A server of its own with the same tables: another process of the same user.
    pub(super) second: &'a (dyn Fn() -> Result<Command> + Sync),
    /// For the figure.
    pub(super) output: &'a Path,
}

impl Steps<'_, '_> {
    /// All of them. Returns where the figures are.
    ///
    /// # Errors
    /// `internal` when an answer is not what it should be.
    /// # Cancel safety
    /// Safe: what runs is the server's, which ends with its client.
    pub(super) async fn run(&mut self) -> Result<Vec<PathBuf>> {
        self.stage.heading("The tools that an assistant sees")?;
        let tools = self.client.tools().await?;
        let width = tools.iter().map(|tool| tool.name.len()).max().unwrap_or(0);
        for tool in &tools {
            self.stage
                .say(&format!("   {:width$}  {}", tool.name, tool.title))?;
        }
        self.query().await?;
        let figures = self.figure().await?;
        self.tables().await?;
        self.session().await?;
        self.endless().await?;
        self.refused().await?;
        Ok(figures)
    }

    async fn query(&mut self) -> Result<()> {
        let (view, path) = (
            self.input.view,
            self.input.path.to_string_lossy().into_owned(),
        );
        self.stage
            .heading("A file on this machine, queried with Spark SQL")?;
        let sql = if self.input.own {
            format!("select * from {view} limit 5")
        } else {
            format!(
                "select country, count(*) as orders, round(sum(amount), 2) as revenue\n\
                 from {view} group by country order by revenue desc"
            )
        };
        self.expect(
            "query_sql",
            json!({ "sql": sql, "files": { view: path }, "wait_s": WAIT_S }),
            "succeeded",
        )
        .await?;
        Ok(())
    }

    async fn figure(&mut self) -> Result<Vec<PathBuf>> {
        self.stage.heading("PySpark with a figure")?;
        let read = &self.input.read;
        let code = if self.input.own {
            format!(
                "import matplotlib.pyplot as plt\n\
                 data = {read}.limit(10000).toPandas()\n\
                 numbers = data.select_dtypes('number')\n\
                 first = (numbers if numbers.shape[1] else data).iloc[:, 0]\n\
                 if numbers.shape[1]:\n    first.plot.hist(bins=30)\n\
                 else:\n    first.astype(str).value_counts().head(20).plot.barh()\n\
                 plt.title(first.name)\nplt.tight_layout()\nprint(len(data), 'rows,', data.shape[1], 'columns')"
            )
        } else {
            format!(
                "import matplotlib.pyplot as plt\nfrom pyspark.sql import functions as F\n\
                 orders = {read}\n\
                 months = (orders.groupBy(F.month('ordered_on').alias('month'))\n          \
                 .agg(F.sum('amount').alias('revenue')).orderBy('month'))\n\
                 shown = months.toPandas()\n\
                 plt.bar(shown['month'], shown['revenue'])\n\
                 plt.title('Revenue by month')\nmonths.limit(3)"
            )
        };
        let answer = self
            .expect(
                "run_pyspark",
                json!({ "code": code, "wait_s": WAIT_S }),
                "succeeded",
            )
            .await?;
        if answer.images.is_empty() {
            return Err(Error::internal("the figure did not come back"));
        }
        let mut saved = Vec::new();
        for image in &answer.images {
            let path = save_figure(self.output, &image.bytes)?;
            self.stage
                .say(&format!("   figure saved: {}", path.display()))?;
            saved.push(path);
        }
        Ok(saved)
    }

    async fn session(&mut self) -> Result<()> {
        self.stage
            .heading("A named session keeps variables between calls")?;
        self.call("open_session", json!({ "name": "tour" }))
            .await
            .and_then(well)?;
        let code = format!("n = {}.count()", self.input.read);
        self.expect(
            "run_pyspark",
            json!({ "code": code, "session": "tour", "wait_s": WAIT_S }),
            "succeeded",
        )
        .await?;
        let again =
            json!({ "code": "f'{n} rows are still known'", "session": "tour", "wait_s": WAIT_S });
        let answer = self.expect("run_pyspark", again, "succeeded").await?;
        if !answer.text.contains("rows are still known") {
            return Err(Error::internal("the session did not keep its variable"));
        }
        self.call("close_session", json!({ "session": "tour" }))
            .await
            .and_then(well)?;
        Ok(())
    }

    async fn endless(&mut self) -> Result<()> {
        self.stage.heading("An endless loop, cancelled")?;
        let code = json!({ "code": "while True: pass", "wait_s": 1 });
        let answer = self.expect("run_pyspark", code, "running").await?;
        let statement = answer
            .structured
            .get("statement")
            .cloned()
            .unwrap_or_default();
        self.expect(
            "cancel_statement",
            json!({ "statement": statement }),
            "cancelled",
        )
        .await?;
        Ok(())
    }

    async fn refused(&mut self) -> Result<()> {
        self.stage
            .heading("A write is refused where only reads are allowed")?;
        let answer = self
            .call("query_sql", json!({ "sql": "drop table customers" }))
            .await?;
        if answer.structured.get("code") != Some(&json!(Code::PolicyDenied)) {
            return Err(unexpected("query_sql", &answer));
        }
        Ok(())
    }

    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Called> {
        let client = self.client;
        self.call_by(client, tool, arguments).await
    }

    pub(super) async fn call_by(
        &mut self,
        client: &Client,
        tool: &str,
        arguments: Value,
    ) -> Result<Called> {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        let start = Instant::now();
        let answer = client.call(tool, arguments.clone()).await?;
        // How long a call waits is the tour's affair, unless it is what is shown.
        let mut shown = arguments;
        if shown.get("wait_s") == Some(&json!(WAIT_S)) {
            shown.remove("wait_s");
        }
        self.stage.called(tool, &shown, &answer, start.elapsed())?;
        Ok(answer)
    }

    pub(super) async fn expect(
        &mut self,
        tool: &str,
        arguments: Value,
        status: &str,
    ) -> Result<Called> {
        let answer = self.call(tool, arguments).await?;
        if answer.is_error || answer.structured.get("status") != Some(&json!(status)) {
            return Err(unexpected(tool, &answer));
        }
        Ok(answer)
    }
}

pub(super) fn well(answer: Called) -> Result<Called> {
    if answer.is_error {
        return Err(unexpected("the session's tool", &answer));
    }
    Ok(answer)
}

/// Tells the tool's own words, since the newcomer's file may be the reason.
pub(super) fn unexpected(tool: &str, answer: &Called) -> Error {
    let field = |name: &str| {
        answer
            .structured
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let message = field("message")
        .or_else(|| field("status").map(|status| format!("its status is {status}")))
        .unwrap_or_default();
    Error::new(
        Code::StatementFailed,
        format!("{tool} did not do what it should: {message}"),
    )
    .hint(
        field("hint").unwrap_or_else(|| "Run `sparklease doctor` to see what is wrong.".to_owned()),
    )
}
