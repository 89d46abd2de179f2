//! What the list of tools is to clients: its definitions, its size in tokens, its promises.

mod skills;

use super::*;

#[test]
fn a_read_only_server_does_not_list_what_changes() {
    assert_eq!(
        names(false),
        [
            "query_sql",
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

/// The two tools of the next issue fit into 2,500 only when these stay below 1,900.
#[test]
fn the_list_costs_at_most_1900_tokens_of_a_client_s_context() {
    let list = serde_json::to_string(&definitions(true)).unwrap();
    let tokens = tiktoken_rs::o200k_base()
        .unwrap()
        .encode_ordinary(&list)
        .len();
    let figure = format!("the tool list has {tokens} tokens (o200k)\n");
    std::io::Write::write_all(&mut std::io::stderr(), figure.as_bytes()).unwrap();
    assert!(tokens <= 1_900, "{figure}");
}
