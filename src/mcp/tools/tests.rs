//! What the list of tools is to clients: its definitions, its size in tokens, its promises.

mod skills;

use super::*;

#[test]
fn a_read_only_server_does_not_list_what_changes() {
    assert_eq!(
        names(false),
        [
            "query_sql",
            "list_tables",
            "get_statement",
            "cancel_statement",
            "open_session",
            "list_sessions",
            "close_session"
        ]
    );
    assert!(find("run_sql", false).is_none());
}

#[test]
fn definitions_change_only_on_purpose() {
    insta::assert_json_snapshot!("definitions", definitions(true));
}

/// What a client spends on us before anything is asked.
#[test]
fn the_list_costs_at_most_2500_tokens_of_a_client_s_context() {
    let bpe = tiktoken_rs::o200k_base().unwrap();
    let count = |value: &str| bpe.encode_ordinary(value).len();
    let tokens = count(&serde_json::to_string(&definitions(true)).unwrap());
    let tables = find("list_tables", true).unwrap().definition();
    let tables = count(&serde_json::to_string(&tables).unwrap());
    assert!(tables <= 320, "list_tables has {tables} tokens");
    let write = find("write_table", true).unwrap().definition();
    let write = count(&serde_json::to_string(&write).unwrap());
    assert!(write <= 480, "write_table has {write} tokens");
    let figure = format!("the tool list has {tokens} tokens (o200k)\n");
    std::io::Write::write_all(&mut std::io::stderr(), figure.as_bytes()).unwrap();
    assert!(tokens <= 2_500, "{figure}");
}
