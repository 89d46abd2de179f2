//! What each text about tables asks for.

use proptest::prelude::*;
use rstest::rstest;

use super::super::rewrite::{Rewritten, rewrite};
use super::statement::{Change, Create, CreateMode, NewColumn, Place};
use super::{TableStatement, Target};

fn own(text: &str) -> TableStatement {
    match rewrite(text) {
        Ok(Rewritten::Own(statement)) => *statement,
        other => panic!("{text:?} became {other:?}"),
    }
}

fn create(text: &str) -> Create {
    match own(text) {
        TableStatement::Create(create) => *create,
        other => panic!("{text:?} became {other:?}"),
    }
}

fn names(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn name(parts: &[&str]) -> Target {
    Target::Name(names(parts))
}

fn column(name: &str, data_type: &str) -> NewColumn {
    NewColumn {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        required: false,
        comment: None,
        place: None,
    }
}

#[test]
fn a_table_made_of_a_query_has_its_clauses_and_the_query_as_written() {
    let text = "create or replace table db.`my t` using delta partitioned by (a, `b c`) comment 'it\\'s' \
                tblproperties ('x.y' = 'z', n = 5, flag true) as\nselect 1 as a, /* ä */ 2 as `b c` ;";
    assert_eq!(
        create(text),
        Create {
            table: names(&["db", "my t"]),
            mode: CreateMode::OrReplace,
            said_delta: true,
            columns: Vec::new(),
            partition_by: names(&["a", "b c"]),
            comment: Some("it's".to_owned()),
            properties: [("x.y", "z"), ("n", "5"), ("flag", "true")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            query: Some("select 1 as a, /* ä */ 2 as `b c`".to_owned()),
        }
    );
}

#[rstest]
#[case("create or replace table t select 1 as a", "select 1 as a")]
#[case("create or replace table t (select 1 as a)", "(select 1 as a)")]
#[case(
    "replace table t as with x as (select 1) select * from x",
    "with x as (select 1) select * from x"
)]
#[case("create or replace table t as values (1)", "values (1)")]
#[case("create or replace table t as table u", "table u")]
fn a_query_may_stand_in_any_form(#[case] text: &str, #[case] query: &str) {
    assert_eq!(create(text).query.as_deref(), Some(query));
}

#[rstest]
#[case("create table t as select * from u where a like 'x'", CreateMode::New)]
#[case("create table if not exists t (a int)", CreateMode::IfNotExists)]
#[case("create or replace table t (a int)", CreateMode::OrReplace)]
#[case("replace table t (a int)", CreateMode::Replace)]
fn what_becomes_of_a_table_that_is_there_is_said(#[case] text: &str, #[case] mode: CreateMode) {
    let create = create(text);
    assert_eq!((create.mode, create.said_delta), (mode, false));
}

#[test]
fn columns_have_types_comments_and_not_null() {
    let text = "CREATE OR REPLACE TABLE t (id bigint NOT NULL COMMENT 'the key', `a,b` decimal(10, 2), \
                m map<string,array<struct<x:int,y:string>>>) PARTITIONED BY (day date)";
    let create = create(text);
    assert_eq!(
        create.columns,
        [
            NewColumn {
                required: true,
                comment: Some("the key".to_owned()),
                ..column("id", "bigint")
            },
            column("a,b", "decimal(10, 2)"),
            column("m", "map<string,array<struct<x:int,y:string>>>"),
            column("day", "date"),
        ]
    );
    assert_eq!(create.partition_by, names(&["day"]));
}

#[rstest]
#[case("alter table t add column a int", vec![column("a", "int")])]
#[case("alter table t add columns (a int, b array<int>)", vec![column("a", "int"), column("b", "array<int>")])]
#[case("alter table t add columns a int comment 'x' after `b c`", vec![NewColumn {
    comment: Some("x".to_owned()), place: Some(Place::After("b c".to_owned())), ..column("a", "int")
}])]
#[case("ALTER TABLE t ADD COLUMNS (a int FIRST)", vec![NewColumn { place: Some(Place::First), ..column("a", "int") }])]
fn columns_are_added(#[case] text: &str, #[case] columns: Vec<NewColumn>) {
    let table = name(&["t"]);
    let change = Change::AddColumns(columns);
    assert_eq!(own(text), TableStatement::Alter { table, change });
}

#[rstest]
#[case("alter table t set tblproperties (a.b = '1')", Change::SetProperties([("a.b".to_owned(), "1".to_owned())].into()))]
#[case("alter table t unset tblproperties if exists ('a.b', c)", Change::UnsetProperties { keys: names(&["a.b", "c"]), if_exists: true })]
#[case("alter table t alter column `x y` comment 'z'", Change::ColumnComment { column: "x y".to_owned(), comment: Some("z".to_owned()) })]
#[case("alter table t change column c comment \"say \"\"so\"\"\"", Change::ColumnComment { column: "c".to_owned(), comment: Some("say \"so\"".to_owned()) })]
#[case("alter table t alter c drop not null", Change::DropNotNull("c".to_owned()))]
#[case("comment on table t is 'it'", Change::Comment(Some("it".to_owned())))]
#[case("comment on table t is null", Change::Comment(None))]
#[case("comment on column t.c is 'x'", Change::ColumnComment { column: "c".to_owned(), comment: Some("x".to_owned()) })]
fn a_description_changes(#[case] text: &str, #[case] change: Change) {
    let table = name(&["t"]);
    assert_eq!(own(text), TableStatement::Alter { table, change });
}

#[rstest]
#[case("show create table db.t", TableStatement::ShowCreate(name(&["db", "t"])))]
#[case("show create table t as serde;", TableStatement::ShowCreate(name(&["t"])))]
#[case("show tblproperties t", TableStatement::ShowProperties(name(&["t"]), None))]
#[case("show tblproperties t ('a.b')", TableStatement::ShowProperties(name(&["t"]), Some("a.b".to_owned())))]
#[case("truncate table db.`t u` ;", TableStatement::Truncate(name(&["db", "t u"])))]
#[case("show partitions t", TableStatement::ShowPartitions(name(&["t"])))]
#[case("describe history t limit 3", TableStatement::History(name(&["t"]), Some(3)))]
#[case("desc history delta.`/a/b`", TableStatement::History(Target::Path("/a/b".into()), None))]
#[case("describe detail delta.`file:///a/b`", TableStatement::Detail(Target::Path("/a/b".into())))]
#[case("alter table a.t rename to a.u", TableStatement::Rename { from: names(&["a", "t"]), to: names(&["a", "u"]) })]
#[case("create table if not exists t like s", TableStatement::Like { table: names(&["t"]), source: name(&["s"]), if_not_exists: true })]
fn statements_name_their_table(#[case] text: &str, #[case] expected: TableStatement) {
    assert_eq!(own(text), expected);
}

#[rstest]
#[case("describe history", "describe TABLE history")]
#[case("describe history.t", "describe TABLE history.t")]
#[case::as_is(
    "create table t (a int) using parquet",
    "create table t (a int) using parquet"
)]
#[case::as_is(
    "create table t (a int) location '/x'",
    "create table t (a int) location '/x'"
)]
#[case::as_is(
    "create table t (a int) tblproperties ('delta.feature.catalogManaged' = 'supported')",
    "create table t (a int) tblproperties ('delta.feature.catalogManaged' = 'supported')"
)]
#[case::as_is("create external table t (a int)", "create external table t (a int)")]
fn these_go_to_the_engine(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(rewrite(text).unwrap(), Rewritten::Sql(expected.to_owned()));
}

#[rstest]
#[case("create or replace table t (a int) location '/x'")]
#[case("create or replace table t using parquet as select 1 as a")]
#[case("create or replace table t (a int default 5)")]
#[case("create table t (a int default 5)")]
#[case("create table if not exists t (a int generated always as (1)) using parquet")]
#[case(
    "create table t tblproperties ('delta.feature.allowColumnDefaults' = 'supported') as select 1 as a"
)]
#[case("create table t (a int) tblproperties ('io.unitycatalog.tableId' = 'x')")]
#[case("create or replace table t (a int, constraint p primary key (a))")]
#[case("create or replace table t partitioned by (days(d)) as select 1 as d")]
#[case("create or replace table t cluster by (a) as select 1 as a")]
#[case("create or replace table delta.`/x` as select 1 as a")]
#[case("truncate table t partition (a = 1)")]
#[case("alter table t drop column a")]
#[case("alter table t rename column a to b")]
#[case("alter table t alter column a type bigint")]
#[case("alter table t alter column a.b comment 'x'")]
#[case("alter table t add partition (a = 1)")]
#[case("alter table t set location '/x'")]
#[case("comment on database d is 'x'")]
#[case("create table t like s location '/x'")]
fn what_nobody_does_is_unsupported_with_a_way_out(#[case] text: &str) {
    let error = rewrite(text).unwrap_err();
    assert_eq!(error.code().as_str(), "unsupported", "{error}");
    assert!(!error.hint_text().is_empty());
}

#[rstest]
#[case("create or replace table")]
#[case("create or replace table t")]
#[case("create or replace table t (a int) as select 1 as a")]
#[case("create or replace table t (a)")]
#[case("create or replace table t (a int first)")]
#[case("create or replace table t nonsense as select 1 as a")]
#[case("alter table t add columns")]
#[case("alter table t add column a int, b")]
#[case("show create table")]
#[case("describe history t limit many")]
#[case("comment on table t")]
#[case("truncate table t u")]
fn what_is_not_understood_is_said_before_anything_happens(#[case] text: &str) {
    let error = rewrite(text).unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_argument", "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(words in prop::collection::vec(prop::sample::select(vec![
        "create", "or", "replace", "table", "alter", "add", "columns", "(", ")", "a", "int", ",", "`b`", "'x'", "as",
        "select", "comment", "on", "is", "tblproperties", "=", "partitioned", "by", "<", ">", ">>", "describe",
        "history", "limit", "1", ".", "like", "rename", "to", "show", "partitions", "truncate", "first", "after", ";",
    ]), 0..14)) {
        let _ = rewrite(&words.join(" "));
    }
}
