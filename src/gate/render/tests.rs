//! Cells, and that what is written as CSV is read back.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn table(rows: Vec<Vec<Value>>, width: usize) -> Table {
    let columns = (0..width).map(|i| Column::new(format!("c{i}"), "string"));
    let batch = Batch {
        columns: columns.collect(),
        rows,
        truncated: false,
    };
    Table::new(
        &Redactor::new(&[]),
        &Limits::default(),
        &batch,
        &mut Vec::new(),
    )
}

fn body(rows: Vec<Vec<Value>>, format: Format) -> String {
    let width = rows.first().map_or(0, Vec::len);
    let fitted = table(rows, width).fit(&Limits::default(), format, 1 << 20, width);
    fitted
        .body
        .split_once(if format == Format::Json {
            "\"rows\":["
        } else {
            "\n"
        })
        .unwrap()
        .1
        .to_owned()
}

#[rstest]
#[case::null(json!(null), "", "null", "null")]
#[case::empty(json!(""), "\"\"", "", "\"\"")]
#[case::word(json!("null"), "null", "null", "\"null\"")]
#[case::yes(json!(true), "true", "true", "true")]
#[case::bigint(json!(9_223_372_036_854_775_807_i64), "9223372036854775807", "9223372036854775807", "9223372036854775807")]
#[case::double(json!(1.5), "1.5", "1.5", "1.5")]
#[case::nan(json!("NaN"), "NaN", "NaN", "\"NaN\"")]
#[case::decimal(json!("0.10"), "0.10", "0.10", "\"0.10\"")]
#[case::comma(json!("a,b"), "\"a,b\"", "a,b", "\"a,b\"")]
#[case::quote(json!("a\"b"), "\"a\"\"b\"", "a\"b", "\"a\\\"b\"")]
#[case::lines(json!("a\nb"), "\"a\nb\"", "a\\nb", "\"a\\nb\"")]
#[case::pipe(json!("a|b"), "a|b", "a\\|b", "\"a|b\"")]
#[case::picture(json!("![](http://x)"), "![](http://x)", "!\\[](http://x)", "\"![](http://x)\"")]
#[case::comment(json!("# x"), "\"# x\"", "# x", "\"# x\"")]
#[case::bidi(json!("\u{202e}x"), "\\u202ex", "\\\\u202ex", "\"\\\\u202ex\"")]
#[case::list(json!([1, null, "a"]), "\"[1,null,\"\"a\"\"]\"", "\\[1,null,\"a\"]", "[1,null,\"a\"]")]
#[case::structure(json!({"b": 1, "a": {"c": "\u{200b}"}}),
    "\"{\"\"b\"\":1,\"\"a\"\":{\"\"c\"\":\"\"\\u200b\"\"}}\"",
    "{\"b\":1,\"a\":{\"c\":\"\\\\u200b\"}}",
    "{\"b\":1,\"a\":{\"c\":\"\\u200b\"}}")]
fn a_cell_in_each_format(
    #[case] cell: Value,
    #[case] csv: &str,
    #[case] markdown: &str,
    #[case] json: &str,
) {
    let rows = vec![vec![cell]];
    assert_eq!(body(rows.clone(), Format::Csv), format!("{csv}\n"));
    assert_eq!(
        body(rows.clone(), Format::Markdown),
        format!("| --- |\n| {markdown} |\n")
    );
    assert_eq!(body(rows, Format::Json), format!("[{json}]]}}\n"));
}

#[test]
fn a_long_cell_says_how_much_is_missing() {
    let cell = json!("x".repeat(700));
    assert_eq!(
        body(vec![vec![cell]], Format::Csv),
        format!("{}…+200\n", "x".repeat(500))
    );
    let nested = json!(["x".repeat(600)]);
    let text = body(vec![vec![nested]], Format::Json);
    assert!(
        text.starts_with("[\"[\\\"xxx") && text.ends_with("x…+104\"]]}\n"),
        "{text}"
    );
}

/// Reads RFC 4180, telling bare from quoted: a bare empty field is NULL.
fn read(text: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = vec![];
    let mut row = vec![];
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut field = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        if quoted {
            while let Some(c) = chars.next() {
                if c == '"' && chars.next_if_eq(&'"').is_none() {
                    break;
                }
                field.push(c);
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n')) {
                field.push(c);
            }
        }
        row.push((quoted || !field.is_empty()).then_some(field));
        if chars.next() == Some('\n') {
            rows.push(std::mem::take(&mut row));
        }
    }
    rows
}

fn cell() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        Just(Some(String::new())),
        "[a-c,\"\n#| ]{0,8}".prop_map(Some),
        "\\PC{0,12}".prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn csv_is_read_back_and_null_is_not_empty(
        rows in (1usize..4).prop_flat_map(|width| {
            prop::collection::vec(prop::collection::vec(cell(), width), 1..6)
        }),
    ) {
        let values = rows.iter().map(|row| row.iter().map(|cell| json!(cell)).collect()).collect();
        let text = body(values, Format::Csv);
        let clean: Vec<Vec<Option<String>>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.as_deref().map(clean::cell)).collect())
            .collect();
        prop_assert_eq!(read(&text), clean.clone());
        // A foreign reader agrees, as far as it can tell.
        if clean[0].len() > 1 {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let foreign: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            let known: Vec<Vec<String>> = clean
                .into_iter()
                .map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
                .collect();
            prop_assert_eq!(foreign, known);
        }
    }
}
