//! Merges of texts: what is added, what stays, what is refused.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::super::client::Client;
use super::*;

fn entry(client: Client) -> Entry {
    Entry {
        client,
        name: "sparklease".to_owned(),
        command: "/opt/sparklease".to_owned(),
        args: vec!["mcp".to_owned()],
    }
}

fn merged(client: Client, text: &str) -> (String, Outcome) {
    merge(text, &entry(client)).unwrap()
}

#[test]
fn all_else_of_a_file_stays_byte_for_byte() {
    let text = "{\n\t\"cost\" : 0.10000000000000000555,\n\t\"mcpServers\": {\n\t\t\"other\": {\"command\":\"x\"}\n\t},\n\t\"last\": [1,2]\n}";
    let (new, outcome) = merged(Client::Cursor, text);
    assert_eq!(outcome, Outcome::Added);
    insta::assert_snapshot!(new.replace('\t', "→"), @r#"
    {
    →"cost" : 0.10000000000000000555,
    →"mcpServers": {
    →→"other": {"command":"x"},
    →→"sparklease": {
    →→→"type": "stdio",
    →→→"command": "/opt/sparklease",
    →→→"args": [
    →→→→"mcp"
    →→→]
    →→}
    →},
    →"last": [1,2]
    }
    "#);
}

#[test]
fn a_file_on_one_line_gets_lines() {
    let (new, _) = merged(Client::ClaudeDesktop, "{\"a\":1}");
    insta::assert_snapshot!(new, @r#"
    {"a":1,
      "mcpServers": {
        "sparklease": {
          "command": "/opt/sparklease",
          "args": [
            "mcp"
          ]
        }
      }
    }
    "#);
}

#[test]
fn an_empty_section_is_filled() {
    let (new, _) = merged(
        Client::VsCode,
        "{\r\n    \"inputs\": [],\r\n    \"servers\": {}\r\n}\r\n",
    );
    insta::assert_snapshot!(new.replace("\r\n", "¶\n"), @r#"
    {¶
        "inputs": [],¶
        "servers": {¶
            "sparklease": {¶
                "type": "stdio",¶
                "command": "/opt/sparklease",¶
                "args": [¶
                    "mcp"¶
                ]¶
            }¶
        }¶
    }¶
    "#);
}

#[test]
fn another_entry_of_the_name_is_replaced_and_its_own_fields_stay() {
    let text = r#"{
  "mcpServers": {
    "sparklease": { "command": "/old", "args": ["x"], "env": {"A": "b"}, "tools": ["query_sql"] },
    "z": 1
  }
}
"#;
    let (new, outcome) = merged(Client::CopilotCli, text);
    assert_eq!(outcome, Outcome::Replaced);
    insta::assert_snapshot!(new, @r#"
    {
      "mcpServers": {
        "sparklease": {
          "command": "/opt/sparklease",
          "args": [
            "mcp"
          ],
          "env": {
            "A": "b"
          },
          "tools": [
            "query_sql"
          ],
          "type": "stdio"
        },
        "z": 1
      }
    }
    "#);
}

#[rstest]
#[case(Client::ClaudeCode)]
#[case(Client::CopilotCli)]
#[case(Client::Codex)]
fn a_second_merge_changes_nothing(#[case] client: Client) {
    let (once, outcome) = merged(client, "");
    assert_eq!(outcome, Outcome::Added);
    assert_eq!(merged(client, &once), (once, Outcome::Unchanged));
}

#[rstest]
#[case(
    "{\n  // mine\n  \"servers\": {}\n}",
    "has comments, which would be lost"
)]
#[case(
    "{\"a\": 1,}",
    "is not JSON at line 1 (comments and trailing commas are not)"
)]
#[case("[]", "is not a JSON object")]
#[case("{\"servers\": []}", "has a \"servers\" that is not an object")]
fn a_text_that_would_suffer_is_refused(#[case] text: &str, #[case] why: &str) {
    let error = merge(text, &entry(Client::VsCode)).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::ConfigurationInvalid, why)
    );
}

#[test]
fn toml_keeps_comments_order_and_other_servers() {
    let text =
        "# mine\nmodel = \"o\" # best\n\n[mcp_servers.other]\ncommand = \"x\"\n\n[tui]\nx = 1\n";
    let (new, outcome) = merged(Client::Codex, text);
    assert_eq!(outcome, Outcome::Added);
    insta::assert_snapshot!(new, @r#"
    # mine
    model = "o" # best

    [mcp_servers.other]
    command = "x"

    [mcp_servers.sparklease]
    command = "/opt/sparklease"
    args = ["mcp"]

    [tui]
    x = 1
    "#);
}

#[test]
fn toml_keeps_the_fields_of_an_entry_that_it_replaces() {
    let text = "[mcp_servers.sparklease]\ncommand = \"/old\"\ntool_timeout_sec = 90 # slow\n";
    let (new, outcome) = merged(Client::Codex, text);
    assert_eq!(outcome, Outcome::Replaced);
    insta::assert_snapshot!(new, @r#"
    [mcp_servers.sparklease]
    command = "/opt/sparklease"
    tool_timeout_sec = 90 # slow
    args = ["mcp"]
    "#);
    let (new, _) = merged(
        Client::Codex,
        "mcp_servers = { other = { command = \"x\" } }\n",
    );
    insta::assert_snapshot!(new, @r#"
    mcp_servers = { other = { command = "x" } , sparklease = { command = "/opt/sparklease", args = ["mcp"] } }
    "#);
}

#[rstest]
#[case("a = ", "is not TOML at line 1")]
#[case("mcp_servers = 1", "has a \"mcp_servers\" that is not a table")]
#[case(
    "[mcp_servers]\nsparklease = 1",
    "has a mcp_servers.sparklease that is not a table"
)]
fn toml_of_another_shape_is_refused(#[case] text: &str, #[case] why: &str) {
    let error = merge(text, &entry(Client::Codex)).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::ConfigurationInvalid, why)
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-c{}\"\\\\,: ]{0,3}|mcpServers|sparklease", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_keeps_its_other_members(value in any_json(), pretty: bool) {
        prop_assume!(value.is_object());
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let servers_fit = value.get("mcpServers").is_none_or(Value::is_object);
        match merge(&text, &entry(Client::Cursor)) {
            Ok((new, _)) => {
                prop_assert!(servers_fit);
                let mut new: Value = serde_json::from_str(&new).unwrap();
                prop_assert_eq!(&new["mcpServers"]["sparklease"]["command"], &json!("/opt/sparklease"));
                let mut old = value;
                new.as_object_mut().unwrap().remove("mcpServers");
                old.as_object_mut().unwrap().remove("mcpServers");
                prop_assert_eq!(new, old);
            }
            Err(error) => {
                prop_assert_eq!(error.code(), Code::ConfigurationInvalid);
                prop_assert!(!servers_fit);
            }
        }
    }
}
