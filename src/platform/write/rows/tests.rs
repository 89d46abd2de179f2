//! Types of JSON values, and values by types: exactly, or refused by row and column.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::spark_connect::Type;

fn types(values: &Value) -> Result<String> {
    let columns = ["c".to_owned()];
    let values = values.as_array().unwrap();
    let rows: Vec<Vec<Value>> = values.iter().map(|v| vec![v.clone()]).collect();
    let rows = Rows {
        columns: &columns,
        rows: &rows,
        first: 0,
    };
    rows.fields(|_| None)
        .map(|fields| fields[0].data_type.to_string())
}

fn read(data_type: Type, values: &Value) -> Result<RecordBatch> {
    let columns = ["c".to_owned()];
    let values = values.as_array().unwrap();
    let rows: Vec<Vec<Value>> = values.iter().map(|v| vec![v.clone()]).collect();
    let rows = Rows {
        columns: &columns,
        rows: &rows,
        first: 0,
    };
    rows.batch(&[Field::new("c", data_type)], &TimeZone::UTC)
}

#[rstest]
#[case(json!([1, null]), "bigint")]
#[case(json!([1, 2.5]), "double")]
#[case(json!([true]), "boolean")]
#[case(json!(["a", ""]), "string")]
#[case(json!([null]), "string")]
#[case(json!([]), "string")]
#[case(json!([[1], [], [null]]), "array<bigint>")]
#[case(json!([[], null]), "array<string>")]
#[case(json!([{"a": 1}, {"b c": [true]}]), "struct<a:bigint,`b c`:array<boolean>>")]
fn types_are_those_of_the_values(#[case] values: Value, #[case] data_type: &str) {
    assert_eq!(types(&values).unwrap(), data_type);
}

#[rstest]
#[case(json!(["x", 1]), "row 2, column c: 1 is a number, row 1 has a string")]
#[case(json!([null, true, [1]]), "row 3, column c: [1] is an array, row 2 has a boolean")]
#[case(json!([[1], ["x"]]), "row 2, column c[]: \"x\" is a string, row 1 has a number")]
#[case(json!([{}]), "row 1, column c: an object without fields has no type")]
#[case(json!([18_446_744_073_709_551_615_u64]), "row 1, column c: 18446744073709551615 does not fit a bigint; make it decimal(20,0) by schema")]
fn mixed_columns_are_refused_by_row(#[case] values: Value, #[case] words: &str) {
    assert_eq!(types(&values).unwrap_err().message(), words);
}

#[rstest]
#[case(Type::Long, json!([1.5]), "1.5 does not fit bigint")]
#[case(Type::Byte, json!([128]), "128 does not fit tinyint")]
#[case(Type::Int, json!(["x"]), "\"x\" does not fit int")]
#[case(Type::Double, json!([9_007_199_254_740_993_i64]), "9007199254740993 does not fit double exactly; make it decimal(38,0) by schema")]
#[case(Type::Float, json!([16_777_217]), "16777217 does not fit float exactly")]
#[case(Type::Float, json!([1e300]), "1e+300 does not fit float")]
#[case(Type::Double, json!(["inf"]), "\"inf\" does not fit double")]
#[case(Type::Decimal(10, 2), json!(["1.234"]), "\"1.234\" does not fit decimal(10,2)")]
#[case(Type::Decimal(4, 2), json!([100]), "100 does not fit decimal(4,2)")]
#[case(Type::Decimal(38, 18), json!([12_345_678_901_234_567_890.123]), "1.2345678901234567e+19 has more digits than a JSON number keeps; write it as a string")]
#[case(Type::Binary, json!(["a"]), "\"a\" is no base64")]
#[case(Type::Date, json!(["2024-02-30"]), "\"2024-02-30\" is no date, as 2024-01-31 is")]
#[case(Type::String, json!([1]), "1 is no string")]
#[case(Type::Boolean, json!([0]), "0 is no boolean")]
fn what_does_not_fit_exactly_is_refused(
    #[case] data_type: Type,
    #[case] values: Value,
    #[case] words: &str,
) {
    let error = read(data_type, &values).unwrap_err();
    assert_eq!(error.message(), format!("row 1, column c: {words}"));
}

#[test]
fn decimals_keep_every_digit() {
    let values = json!([
        "12345678901234567890.123456789012345678",
        "-0.000000000000000001",
        0.1,
        5,
        "1e3",
        "0e99",
        "00012.50",
        null
    ]);
    let batch = read(Type::Decimal(38, 18), &values).unwrap();
    let column = batch.column(0).as_primitive::<Decimal128Type>();
    let texts: Vec<String> = (0..7).map(|row| column.value_as_string(row)).collect();
    assert_eq!(
        texts,
        [
            "12345678901234567890.123456789012345678",
            "-0.000000000000000001",
            "0.100000000000000000",
            "5.000000000000000000",
            "1000.000000000000000000",
            "0.000000000000000000",
            "12.500000000000000000"
        ]
    );
    assert!(column.is_null(7));
}

#[test]
fn maps_and_structs_are_objects_pairs_or_json_text() {
    let map = Type::Map(Box::new(Type::Long), Box::new(Type::String));
    let values = json!([{"1": "a"}, [[2, "b"], [3, null]], "{\"4\": \"d\"}", null, {}]);
    let batch = read(map, &values).unwrap();
    let column = batch.column(0).as_map();
    let lengths: Vec<i32> = (0..5).map(|row| column.value_length(row)).collect();
    assert_eq!(lengths, [1, 2, 1, 0, 0]);
    assert!(column.is_null(3) && column.is_valid(4));

    let two = Type::Struct(vec![
        Field::new("x", Type::Long),
        Field::new("x", Type::Long),
    ]);
    let batch = read(two, &json!([[["x", 1], ["x", 2]]])).unwrap();
    let column = batch.column(0).as_struct();
    let value = |place: usize| {
        let part = column.column(place);
        part.as_primitive::<arrow_array::types::Int64Type>()
            .value(0)
    };
    assert_eq!((value(0), value(1)), (1, 2));
}

#[rstest]
#[case(json!([{"1": "a", "x": "b"}]), "row 1, column c.key: \"x\" does not fit bigint")]
#[case(json!([[[1, "a"], [1, "b"]]]), "row 1, column c: the key 1 stands there twice")]
#[case(json!([[[null, "a"]]]), "row 1, column c: a key is NULL")]
fn wrong_keys_are_refused(#[case] values: Value, #[case] words: &str) {
    let map = Type::Map(Box::new(Type::Long), Box::new(Type::String));
    assert_eq!(read(map, &values).unwrap_err().message(), words);
}

#[test]
fn many_wrong_values_are_counted_and_the_first_shown() {
    let values: Vec<Value> = (0..9).map(|n| json!(format!("x{n}"))).collect();
    let error = read(Type::Int, &json!(values)).unwrap_err();
    assert!(error.message().ends_with("and 4 more values"), "{error}");
    assert_eq!(error.message().matches("row ").count(), 5);
}

#[test]
fn null_in_a_not_null_column_is_refused() {
    let columns = ["c".to_owned()];
    let rows = Rows {
        columns: &columns,
        rows: &[vec![json!(1)], vec![json!(null)]],
        first: 0,
    };
    let mut field = Field::new("c", Type::Long);
    field.nullable = false;
    let error = rows.batch(&[field], &TimeZone::UTC).unwrap_err();
    assert_eq!(
        error.message(),
        "row 2, column c: NULL in a NOT NULL column"
    );
}
