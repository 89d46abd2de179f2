//! Files that are what their names say, and such that are not: columns, types and rows.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::spark_connect::Type;

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn types(name: &str, text: &str) -> Result<String> {
    let (_folder, path) = file(name, text.as_bytes());
    let format = if name.ends_with("csv") {
        FileFormat::Csv
    } else {
        FileFormat::JsonLines
    };
    let fields = look(&path, format)?.fields(|_| None)?;
    let each = fields.iter().map(|f| format!("{} {}", f.name, f.data_type));
    Ok(each.collect::<Vec<_>>().join(", "))
}

#[rstest]
#[case("f.jsonl", "{\"a\":1}\n", "{\"a\":2.5}\n", "a double")]
#[case(
    "f.jsonl",
    "{\"a\":1}\n",
    "{\"b\":[\"x\"]}\n",
    "a bigint, b array<string>"
)]
#[case(
    "f.jsonl",
    "{\"a\":{\"x\":1}}\n",
    "{\"a\":{\"y\":true}}\n",
    "a struct<x:bigint,y:boolean>"
)]
#[case("f.jsonl", "\u{feff}{\"a\":9007199254740993}\n", "", "a bigint")]
#[case("f.csv", "a,b\n", "1,\n2,x\n", "a bigint, b string")]
#[case("f.csv", "a\n", "00123\n", "a string")]
fn the_last_row_has_its_say_in_a_column_s_type(
    #[case] name: &str,
    #[case] first: &str,
    #[case] last: &str,
    #[case] found: &str,
) {
    let middle = if name.ends_with("csv") {
        "1".to_owned() + &",".repeat(first.matches(',').count()) + "\n"
    } else {
        "{\"a\":null}\n".to_owned()
    };
    let text = format!("{first}{}{last}", middle.repeat(3000));
    assert_eq!(types(name, &text).unwrap(), found);
}

#[rstest]
#[case(
    "{\"a\":1}\n{\"a\":\"x\"}\n",
    "row 2, column a: \"x\" is a string, row 1 has a number"
)]
#[case(
    "{\"e\":{}}\n",
    "row 1, column e: an object without fields has no type"
)]
#[case(
    "{\"a\":-123456789012345678901}\n",
    "f.jsonl is no file of JSON lines: line 1 has a whole number of 21 digits, more than a JSON number keeps; write it as a string"
)]
#[case(
    "{\"a\":18446744073709551615}\n",
    "row 1, column a: 18446744073709551615 does not fit a bigint; make it decimal(20,0) by schema"
)]
fn lines_without_one_type_are_refused_by_row(#[case] text: &str, #[case] words: &str) {
    assert_eq!(types("f.jsonl", text).unwrap_err().message(), words);
}

#[test]
fn more_columns_than_any_table_has_are_refused() {
    let text = vec!["c"; 10_001].join(",");
    let error = types("f.csv", &text).unwrap_err();
    assert!(error.message().contains("10001 columns"), "{error}");
}

#[rstest]
#[case(
    FileFormat::Csv,
    b"a,b\n1,2\n3,\"x\n4,y\n",
    "f is no CSV file with a header: the quote opened in line 3 is not closed"
)]
#[case(
    FileFormat::Csv,
    b"a,b\n1,\"x\n2,\"y\"\n",
    "f is no CSV file with a header: line 3 has text behind a closing quote, which was opened in line 2"
)]
#[case(
    FileFormat::Csv,
    b"a,b\n1,2\n1,2,3\n4\n",
    "f is no CSV file with a header: line 3 has 3 fields, the header has 2; line 4 has 1 fields, the header has 2"
)]
#[case(FileFormat::Csv, b"", "f is no CSV file with a header: it is empty")]
#[case(
    FileFormat::Csv,
    b"a\n\xff\xfe\n",
    "f is no CSV file with a header: line 2: it is not UTF-8"
)]
#[case(
    FileFormat::Csv,
    b"PAR1\0\0x\n",
    "f is no CSV file with a header: it holds bytes that are no text"
)]
#[case(
    FileFormat::JsonLines,
    b"{\"a\":1}\n[1]\n{\n",
    "f is no file of JSON lines: line 2 is [1], not an object; line 3, column 0: EOF while parsing an object"
)]
#[case(
    FileFormat::JsonLines,
    b" \n",
    "f is no file of JSON lines: it is empty"
)]
#[case(
    FileFormat::JsonLines,
    b"{\"a\":\"\xff\"}\n",
    "f is no file of JSON lines: line 1: it is not UTF-8"
)]
fn a_file_that_is_not_what_its_name_says_is_refused(
    #[case] format: FileFormat,
    #[case] bytes: &[u8],
    #[case] words: &str,
) {
    let (_folder, path) = file("f", bytes);
    assert_eq!(look(&path, format).unwrap_err().message(), words);
}

#[test]
fn a_text_or_a_torn_file_is_no_parquet() {
    let (_folder, path) = file("f.parquet", b"a,b\n1,2\n");
    let error = look(&path, FileFormat::Parquet).unwrap_err();
    assert!(
        error.message().starts_with("f.parquet is no Parquet file"),
        "{error}"
    );
    let (_folder, path) = file("f.parquet", b"PAR1");
    assert!(look(&path, FileFormat::Parquet).is_err());
}

#[test]
fn columns_are_the_header_or_all_keys() {
    let (_folder, path) = file("f", "\u{feff}a,\"b,c\"\r\n1,\"x\ny\"\r\n".as_bytes());
    let looked = look(&path, FileFormat::Csv).unwrap();
    assert_eq!(looked.columns, ["a", "b,c"]);
    let (_folder, path) = file("f", b"{\"a\":1}\n\n{\"b\":2,\"a\":null}");
    let looked = look(&path, FileFormat::JsonLines).unwrap();
    assert_eq!(looked.columns, ["a", "b"]);
}

#[test]
fn a_value_that_does_not_fit_is_named_by_its_row_in_the_file() {
    let mut text = String::from("id,n\n");
    for row in 0..CHUNK {
        text.push_str(&format!("{row},1\n"));
    }
    text.push_str("x,1\n");
    let (folder, path) = file("f.csv", text.as_bytes());
    let fields = [Field::new("ID", Type::Long), Field::new("n", Type::Int)];
    let to = File::create(folder.path().join("to.parquet")).unwrap();
    let columns = ["id".to_owned(), "n".to_owned()];
    let error = convert(
        &path,
        FileFormat::Csv,
        &columns,
        &fields,
        &TimeZone::UTC,
        to,
    )
    .unwrap_err();
    assert_eq!(
        error.message(),
        format!("row {}, column ID: \"x\" does not fit bigint", CHUNK + 1)
    );
}

#[test]
fn rows_are_kept_by_type_in_any_order_of_columns() {
    let (folder, path) = file(
        "f.jsonl",
        json!({"B": "1.50", "a": 7}).to_string().as_bytes(),
    );
    let fields = [
        Field::new("a", Type::Int),
        Field::new("b", Type::Decimal(10, 2)),
    ];
    let target = folder.path().join("to.parquet");
    let to = File::create(&target).unwrap();
    let columns = ["a".to_owned(), "B".to_owned()];
    convert(
        &path,
        FileFormat::JsonLines,
        &columns,
        &fields,
        &TimeZone::UTC,
        to,
    )
    .unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
        File::open(&target).unwrap(),
    );
    let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(
        *batch.schema().field(1).data_type(),
        fields[1].data_type.arrow()
    );
}
