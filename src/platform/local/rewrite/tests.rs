//! What is rewritten, what is left alone, and that rewriting never panics.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn sql(text: &str) -> String {
    match rewrite(text).unwrap() {
        Rewritten::Sql(text) => text,
        other => panic!("{text:?} became {other:?}"),
    }
}

#[rstest]
#[case("DESCRIBE t", "DESCRIBE TABLE t")]
#[case("desc db.t;", "desc TABLE db.t;")]
#[case(
    "-- ä\n/* x */ desc /* y */ `a b` -- z",
    "-- ä\n/* x */ desc /* y */ TABLE `a b` -- z"
)]
#[case("describe t a", "describe TABLE t a")]
#[case("describe `table`", "describe TABLE `table`")]
#[case("describe history", "describe TABLE history")]
#[case("describe schema.t", "describe TABLE schema.t")]
#[case("describe table", "describe TABLE table")]
#[case("DESCRIBE FORMATTED t", "DESCRIBE EXTENDED t")]
#[case("desc table formatted db.t", "desc table EXTENDED db.t")]
#[case("describe formatted", "describe TABLE formatted")]
#[case("use db", "use DATABASE db")]
#[case("USE `my db` ;", "USE DATABASE `my db` ;")]
#[case("use sail.db", "use DATABASE sail.db")]
#[case("use catalog", "use DATABASE catalog")]
fn spellings_that_sail_lacks_are_rewritten(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(sql(text), expected);
}

#[rstest]
#[case("describe table t")]
#[case("desc extended t")]
#[case("desc table extended t")]
#[case("desc function abs")]
#[case("desc function extended abs")]
#[case("desc database d")]
#[case("desc schema extended d")]
#[case("desc namespace d")]
#[case("use database d")]
#[case("use schema d")]
#[case("use catalog c")]
#[case("set catalog c")]
#[case("select 1")]
#[case("SELECT 'describe t', `use db` -- set a=b")]
#[case("select * from t tablesample (50 percent)")]
#[case("select * from t tablesample (bucket 1 out of 2), rows")]
#[case("create table t using csv as select * from u where a like 'x'")]
#[case("with x as (select 1) select * from x")]
#[case("select r'a\\'")]
#[case("describe t; describe u")]
#[case("set a=b; set c=d")]
#[case("select 'not closed")]
#[case("describe")]
#[case("use")]
#[case("")]
#[case("\u{feff}\0")]
fn the_rest_is_left_alone(#[case] text: &str) {
    assert_eq!(sql(text), text);
}

#[rstest]
#[case("set a.b=c", "a.b", "c")]
#[case(
    "SET spark.sql.shuffle.partitions = 4 ;",
    "spark.sql.shuffle.partitions",
    "4"
)]
#[case("set a=x y  z", "a", "x y  z")]
#[case("set a='x'", "a", "'x'")]
#[case("set a=\"x = y\"", "a", "\"x = y\"")]
#[case("set a=`x y`", "a", "x y")]
#[case("set a=`x``y`", "a", "x`y")]
#[case("set a=`x` `y`", "a", "`x` `y`")]
#[case("set `a b`=c", "a b", "c")]
#[case("set `a=b` = `c=d`;", "a=b", "c=d")]
#[case("set a=", "a", "")]
#[case("set a:b-c=d", "a:b-c", "d")]
#[case("-- first\nset a=b", "a", "b")]
#[case("set var=1", "var", "1")]
#[case("set catalog=x", "catalog", "x")]
#[case(
    "set time zone 'Asia/Tokyo'",
    "spark.sql.session.timeZone",
    "Asia/Tokyo"
)]
#[case("SET TIMEZONE \"UTC\"", "spark.sql.session.timeZone", "UTC")]
fn settings_go_by_the_config_call(#[case] text: &str, #[case] key: &str, #[case] value: &str) {
    let expected = Rewritten::SetConfig {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    assert_eq!(rewrite(text).unwrap(), expected);
}

#[rstest]
#[case("set a.b", Rewritten::ShowConfig { key: "a.b".to_owned() })]
#[case("SET `a b`;", Rewritten::ShowConfig { key: "a b".to_owned() })]
#[case("reset a.b;", Rewritten::UnsetConfig { key: "a.b".to_owned() })]
#[case("RESET `a b`", Rewritten::UnsetConfig { key: "a b".to_owned() })]
fn one_setting_is_shown_or_reset(#[case] text: &str, #[case] expected: Rewritten) {
    assert_eq!(rewrite(text).unwrap(), expected);
}

#[rstest]
#[case("set a b")]
#[case("set 'a'=b")]
#[case("set =b")]
#[case("reset a b")]
#[case("reset 'a'")]
fn a_set_that_spark_refuses_is_refused(#[case] text: &str) {
    assert_eq!(rewrite(text).unwrap_err().code(), Code::InvalidArgument);
}

#[rstest]
#[case("set")]
#[case("SET -v;")]
#[case("reset")]
#[case("set time zone local")]
#[case("set time zone interval 1 hour")]
#[case("set var x = 1")]
#[case("set variable x = 1")]
#[case("analyze table t compute statistics")]
#[case("cache table t")]
#[case("uncache table t")]
#[case("clear cache")]
#[case("refresh table t")]
#[case("select * from t tablesample (10 rows)")]
#[case("alter view v as select 1")]
#[case("alter database d set dbproperties ('a' = 'b')")]
#[case("describe catalog c")]
#[case("describe select 1")]
#[case("desc query with x as (select 1) select * from x")]
#[case("optimize t")]
#[case("vacuum t")]
#[case("restore table t to version as of 0")]
#[case("declare x int = 1")]
#[case("execute immediate 'select 1'")]
#[case("call x()")]
#[case("msck repair table t")]
#[case("add jar '/x.jar'")]
#[case("grant select on t to x")]
#[case("load data inpath '/x' into table t")]
#[case("copy into t from '/x'")]
#[case("create function f as 'x'")]
#[case("create or replace temporary function f as 'x'")]
#[case("create streaming table s as select 1")]
#[case("from t select a")]
#[case("create view v as select 1")]
#[case("create or replace view v as select 1")]
#[case("insert into t partition (a = 1) select 2")]
#[case("insert overwrite table t partition (a) select 2, 1")]
#[case("insert into delta.`/x` select 2")]
#[case("select 1 |> where true")]
#[case("select * from stream(t)")]
#[case("with x as (select 1) insert into t select * from x")]
fn what_sail_cannot_do_says_so_with_a_way_out(#[case] text: &str) {
    let error = rewrite(text).unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
    assert!(!error.hint_text().is_empty());
}

#[test]
fn a_script_is_refused_although_it_has_semicolons() {
    assert_eq!(
        rewrite("begin select 1; end").unwrap_err().code(),
        Code::Unsupported
    );
}

#[test]
fn errors_read_well() {
    let shown = |text: &str| {
        let error = rewrite(text).unwrap_err();
        format!("{error} | {}", error.hint_text())
    };
    insta::assert_snapshot!(shown("vacuum t"), @"unsupported: the local engine (Sail) does not support VACUUM | Leave it out: the local engine has nothing in its place.");
    insta::assert_snapshot!(shown("set"), @"unsupported: the local engine (Sail) does not support a list of all settings | Ask for one setting by its key: SET spark.sql.session.timeZone.");
    insta::assert_snapshot!(shown("describe select 1"), @"unsupported: the local engine (Sail) does not support DESCRIBE of a query | Run the query with LIMIT 0: the result names its columns and their types.");
    insta::assert_snapshot!(shown("set a b"), @"invalid_argument: a SET that is neither `SET key` nor `SET key=value` | Write SET key=value, with a key of other characters than letters, digits, `_`, `.`, `:`, `-` in backticks.");
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,100}|(set|use|desc|describe|reset) \\PC{0,40}") {
        let _ = rewrite(&text);
        let _ = crate::platform::local::paths::path_relations(&text);
    }

    #[test]
    fn a_value_arrives_as_it_is(value in "[^;`\\s][^;`]{0,40}[^;`\\s]") {
        // Texts that cannot be cut (a quote that does not end) go on as they are; Sail refuses them.
        if let Rewritten::SetConfig { value: set, .. } = rewrite(&format!("set a={value};")).unwrap() {
            prop_assert_eq!(set, value);
        }
    }
}

#[rstest]
#[case("delete from t where a = 1", Some(["t"].as_slice()))]
#[case("/* x */ UPDATE db.`t u` set a = 1;", Some(["db", "t u"].as_slice()))]
#[case("merge into t using s on true when matched then delete", Some(["t"].as_slice()))]
#[case("insert into t values (1)", None)]
#[case("select 1", None)]
fn the_table_whose_rows_are_miscounted_is_known(
    #[case] text: &str,
    #[case] table: Option<&[&str]>,
) {
    let table = table.map(|parts| Target::Name(parts.iter().map(|p| (*p).to_owned()).collect()));
    assert_eq!(miscounted(text), table);
}
