//! One prompt, for people who start from a menu: look at a table. Nothing depends on it.

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ErrorCode,
    GetPromptRequestParams, GetPromptResult, ListPromptsResult, Prompt, PromptArgument,
    PromptMessage, Role,
};
use serde_json::Value;

use super::{Server, resources};
use crate::model::{DEFAULT_DATABASE, TableName, TablesQuery};

/// The prompt's name.
const EXPLORE: &str = "explore_table";

/// Names that a completion offers; clients show a dozen.
const OFFERED: usize = 20;

/// All prompts.
pub(super) fn list() -> ListPromptsResult {
    let table = PromptArgument::new("table")
        .with_title("Table")
        .with_description("The table's name: sales.orders, or orders for default.orders.")
        .with_required(true);
    let prompt = Prompt::new(
        EXPLORE,
        Some("Looks at a table: columns, sizes, a sample, what stands out, and what to ask next."),
        Some(vec![table]),
    )
    .with_title("Explore a table");
    let mut list = ListPromptsResult::with_all_items(vec![prompt]);
    list.ttl_ms = Some(3_600_000);
    list.cache_scope = Some(CacheScope::Private);
    list
}

/// The prompt with what is known of the table now.
pub(super) async fn get(
    server: &Server,
    request: &GetPromptRequestParams,
) -> Result<GetPromptResult, ErrorData> {
    let invalid = |message: &str| {
        let message = server.gate.text(message).into_string();
        ErrorData::new(ErrorCode::INVALID_PARAMS, message, None)
    };
    if request.name != EXPLORE {
        return Err(invalid(&format!(
            "there is no prompt {:?}; the prompt is {EXPLORE}",
            request.name
        )));
    }
    let table = request
        .arguments
        .as_ref()
        .and_then(|arguments| arguments.get("table"))
        .and_then(Value::as_str)
        .map(str::trim)
        .filter(|table| !table.is_empty());
    let Some(table) = table else {
        return Err(invalid(
            "table is missing: the table's name, sales.orders for example",
        ));
    };
    let name = TableName::parse(table).ok_or_else(|| {
        invalid(&format!(
            "table {table:?} is no name: write sales.orders, with backticks around parts that are no plain words"
        ))
    })?;
    let known = resources::schema(server, None, &name)
        .await
        .map_err(|e| resources::failed(server, &e))?;
    let Some(known) = known else {
        return Err(invalid(&format!(
            "there is no table {name}: list_tables(pattern={}) finds names that are like it",
            Value::from(format!("*{}*", name.table))
        )));
    };
    let text = format!(
        "Explore the Spark table {name}, reading only.\n\n{known}\n\
         1. With query_sql look at 10 rows; choose columns if the table is wide.\n\
         2. In one more query count rows, distinct values and nulls of the columns that matter, and the range of dates and numbers; \
         filter by partition columns where the table is large.\n\
         3. Say in a few sentences what a row is, what stands out (nulls, duplicates, odd values, gaps in time), and which columns look like keys.\n\
         4. Propose three questions that the table can answer, each with its SQL."
    );
    let text = server.gate.text(&text).into_string();
    let message = PromptMessage::new_text(Role::User, text);
    Ok(GetPromptResult::new(vec![message]).with_description("What a table holds"))
}

/// Names of tables for the prompt's argument, and for the parts of a resource's address.
pub(super) async fn complete(server: &Server, request: &CompleteRequestParams) -> CompleteResult {
    if request.r#ref.as_prompt_name() != Some(EXPLORE) || request.argument.name != "table" {
        return CompleteResult::default();
    }
    let begun = request.argument.value.trim().replace('*', "");
    let query = TablesQuery {
        pattern: Some(format!("{begun}*")),
        limit: OFFERED,
        ..TablesQuery::default()
    };
    // A menu has no place for an error.
    // It is asked for with each letter: nothing is opened and paid for by it.
    if !server.service.lists_without_session(None) {
        return CompleteResult::default();
    }
    let Ok((_, page)) = resources::tables(server, None, &query).await else {
        return CompleteResult::default();
    };
    let names = page.tables.iter().map(|table| {
        let name = server.gate.table(table).name;
        if name.database == DEFAULT_DATABASE && !begun.contains('.') {
            TableName::new("", name.table).to_string()
        } else {
            name.to_string()
        }
    });
    let total = u32::try_from(page.total).ok();
    CompletionInfo::with_pagination(names.collect(), total, page.more)
        .map(CompleteResult::new)
        .unwrap_or_default()
}
