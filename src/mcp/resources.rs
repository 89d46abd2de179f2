//! Table schemas as resources, for clients that read them; nothing depends on it. What they hold is what `list_tables`
//! tells, and leaves by the gate as that does.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, ErrorCode, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult,
    Resource, ResourceContents, ResourceTemplate,
};

use super::Server;
use crate::gate::{TablesAsk, TablesCursor};
use crate::model::{
    Code, Error, Result, TableDetail, TableName, TablesPage, TablesQuery, TargetName,
};
use crate::platform::Reporter;

/// Resources of one page. Clients show them in a menu, where more are of no use.
const PAGE: usize = 100;

/// What all resources begin with.
const SCHEME: &str = "spark://";

/// How long a client may keep what it has read: a table changes with the next statement.
const FRESH_MS: u64 = 5_000;

/// A page of the tables of the default target.
pub(super) async fn list(
    server: &Server,
    cursor: Option<&str>,
) -> std::result::Result<ListResourcesResult, ErrorData> {
    let after = match cursor.map(TablesCursor::parse).transpose() {
        Ok(cursor) => cursor.map(|cursor| cursor.after),
        Err(problem) => return Err(invalid(server, &format!("cursor: {problem}"))),
    };
    let query = TablesQuery {
        after,
        limit: PAGE,
        ..TablesQuery::default()
    };
    // Clients ask for this by themselves: nothing is opened and paid for by it.
    if !server.service.lists_without_session(None) {
        return Ok(ListResourcesResult::default());
    }
    let listed = tables(server, None, &query).await;
    let (target, page) = listed.map_err(|e| failed(server, &e))?;
    let next = page.tables.last().filter(|_| page.more);
    let next = next.map(|last| TablesCursor::behind(last.name.clone()).to_string());
    let resources = page.tables.iter().map(|table| {
        let table = server.gate.table(table);
        let uri = uri(&target, &table.name);
        let mut resource = Resource::new(uri, table.name.to_string())
            .with_mime_type("text/plain")
            .with_title(format!("Schema of {}", table.name));
        resource.description = table.comment;
        resource
    });
    let mut list = ListResourcesResult::with_all_items(resources.collect());
    list.next_cursor = next.map(|next| server.gate.text(&next).into_string());
    list.ttl_ms = Some(FRESH_MS);
    list.cache_scope = Some(CacheScope::Private);
    Ok(list)
}

/// How the address of a table is made.
pub(super) fn templates() -> ListResourceTemplatesResult {
    let template = ResourceTemplate::new(
        format!("{SCHEME}{{target}}/{{database}}.{{table}}"),
        "table-schema",
    )
    .with_title("Schema of a table")
    .with_description("Columns, partitions, rows and bytes of a table, as list_tables tells them.")
    .with_mime_type("text/plain");
    let mut list = ListResourceTemplatesResult::with_all_items(vec![template]);
    list.ttl_ms = Some(3_600_000);
    list.cache_scope = Some(CacheScope::Private);
    list
}

/// One table.
pub(super) async fn read(
    server: &Server,
    uri: &str,
) -> std::result::Result<ReadResourceResult, ErrorData> {
    let (target, name) = parse(uri).map_err(|problem| not_found(server, &problem))?;
    let text = schema(server, Some(&target), &name)
        .await
        .map_err(|e| failed(server, &e))?;
    let Some(text) = text else {
        let problem = format!("there is no table {name} on {target}: list_tables finds tables");
        return Err(not_found(server, &problem));
    };
    let mut result = ReadResourceResult::new(vec![ResourceContents::text(text, uri)]);
    result.ttl_ms = Some(FRESH_MS);
    result.cache_scope = Some(CacheScope::Private);
    Ok(result)
}

/// What `list_tables` says of one table with `detail="stats"`; `None` if there is none.
pub(super) async fn schema(
    server: &Server,
    target: Option<&TargetName>,
    name: &TableName,
) -> Result<Option<String>> {
    let query = TablesQuery {
        only: Some(name.clone()),
        detail: TableDetail::Stats,
        limit: 1,
        ..TablesQuery::default()
    };
    let (target, page) = tables(server, target, &query).await?;
    if page.tables.is_empty() {
        return Ok(None);
    }
    let ask = TablesAsk {
        target,
        target_given: false,
        session: None,
        pattern: None,
        detail: TableDetail::Stats,
        continued: false,
    };
    Ok(Some(server.gate.tables(&ask, &page).text().to_owned()))
}

/// A page of a target's tables, without temp views.
pub(super) async fn tables(
    server: &Server,
    target: Option<&TargetName>,
    query: &TablesQuery,
) -> Result<(TargetName, TablesPage)> {
    let wait = Duration::from_secs(server.defaults.wait_s);
    let (report, _) = Reporter::new();
    server
        .service
        .tables(&server.owner, target, None, query, wait, &report)
        .await
}

/// `spark://local/sales.two%20words`; a dot within a name stands as `%2E`.
fn uri(target: &TargetName, name: &TableName) -> String {
    let part = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
            .to_string()
            .replace("%5F", "_")
            .replace("%2D", "-")
    };
    format!(
        "{SCHEME}{}/{}.{}",
        part(target.as_str()),
        part(&name.database),
        part(&name.table)
    )
}

fn parse(uri: &str) -> std::result::Result<(TargetName, TableName), String> {
    let wrong = || format!("{uri:?} is no {SCHEME}target/database.table");
    let (target, table) = uri
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(wrong)?;
    let (database, table) = table.split_once('.').ok_or_else(wrong)?;
    let part = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        text.map(String::from).map_err(|_| wrong())
    };
    Ok((
        TargetName::new(part(target)?),
        TableName::new(part(database)?, part(table)?),
    ))
}

fn invalid(server: &Server, message: &str) -> ErrorData {
    let message = server.gate.text(message).into_string();
    ErrorData::new(ErrorCode::INVALID_PARAMS, message, None)
}

fn not_found(server: &Server, message: &str) -> ErrorData {
    ErrorData::resource_not_found(server.gate.text(message).into_string(), None)
}

/// The same words as a tool's failure has.
pub(super) fn failed(server: &Server, error: &Error) -> ErrorData {
    let message = format!(
        "{}: {}. {}",
        error.code(),
        error.message(),
        error.hint_text()
    );
    match error.code() {
        Code::NotFound => not_found(server, &message),
        Code::InvalidArgument => invalid(server, &message),
        _ => {
            let message = server.gate.text(&message).into_string();
            ErrorData::new(ErrorCode::INTERNAL_ERROR, message, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_the_table_that_it_is_of() {
        for (database, table) in [
            ("sales", "orders"),
            ("größe", "two words"),
            ("a.b", "c.d/e?f#g%20"),
            ("x", "`quoted`"),
        ] {
            let target = TargetName::new("my target");
            let name = TableName::new(database, table);
            let uri = uri(&target, &name);
            assert!(!uri.contains(' '), "{uri}");
            assert_eq!(parse(&uri), Ok((target, name)), "{uri}");
        }
        assert_eq!(
            uri(
                &TargetName::new("local"),
                &TableName::new("sales", "new_orders")
            ),
            "spark://local/sales.new_orders"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for uri in [
            "",
            "spark://local",
            "spark://local/orders",
            "file:///a.b",
            "spark://local/a.%ff",
        ] {
            assert!(parse(uri).is_err(), "{uri}");
        }
    }
}
