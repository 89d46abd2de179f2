//! Claims about statements: what they give, exactly, and how they fail.

use base64::Engine as _;
use serde_json::json;

use super::{Params, Place, bound, claims, kept, python, sql};
use crate::model::Code;

claims! {
    sql_gives_names_types_and_rows
    values_are_exact
    numbers_that_are_none_and_times_at_the_edges_are_exact
    columns_may_have_one_name
    a_query_without_rows_has_its_columns
    a_command_has_run_when_it_ends
    values_are_bound_by_name_and_by_place
    what_cannot_be_bound_is_refused
    python_gives_text_of_both_streams_and_a_value
    python_gives_spark_frames_as_tables
    python_gives_pandas_frames_as_tables
    whatever_writes_to_the_descriptors_is_text
    text_is_unicode
    a_figure_is_a_png
    rows_are_cut_at_max_rows
    rows_are_cut_at_max_bytes
    names_are_kept_only_where_they_are_asked_for
    sql_and_python_see_each_other_s_views
    an_error_of_python_shows_the_user_s_lines
    a_syntax_error_says_where
    exits_and_interrupts_are_the_code_s_own_errors
    an_error_of_sql_has_its_class
    sql_that_cannot_be_read_fails
}

async fn sql_gives_names_types_and_rows(place: &Place) {
    let text = "select id, concat('row ', id) as name from range(3) order by id";
    let answer = place.run(sql(text)).await.succeeded();
    assert_eq!(answer.columns, ["id bigint", "name string"]);
    let rows = [
        [json!(0), json!("row 0")],
        [json!(1), json!("row 1")],
        [json!(2), json!("row 2")],
    ];
    assert_eq!(answer.rows, rows);
    assert!(!answer.truncated);
    assert!(answer.values.is_empty(), "{answer:?}");
}

async fn values_are_exact(place: &Place) {
    let text = "select cast('12345678901234567890.123456789012345678' as decimal(38,18)) as d, \
        9007199254740993 as l, cast(-128 as tinyint) as i8, 32767S as i16, date'2024-02-29' as day, \
        timestamp'2024-01-02 03:04:05.123456' as t, timestamp_ntz'2024-01-02 03:04:05.123456' as tn, \
        X'00ff' as b, 'naïve 🦀' as u, true as yes, cast(null as string) as nothing, array(1, null, 3) as a, \
        named_struct('x', 1.5, 'y', 'z') as s, map('k', 1) as m";
    let answer = place.run(sql(text)).await.succeeded();
    assert_eq!(
        answer.columns,
        [
            "d decimal(38,18)",
            "l bigint",
            "i8 tinyint",
            "i16 smallint",
            "day date",
            "t timestamp",
            "tn timestamp_ntz",
            "b binary",
            "u string",
            "yes boolean",
            "nothing string",
            "a array<int>",
            "s struct<x:decimal(2,1),y:string>",
            "m map<string,int>"
        ]
    );
    let row = json!([
        "12345678901234567890.123456789012345678",
        9_007_199_254_740_993_i64,
        -128,
        32767,
        "2024-02-29",
        "2024-01-02 03:04:05.123456+00:00",
        "2024-01-02 03:04:05.123456",
        "AP8=",
        "naïve 🦀",
        true,
        null,
        [1, null, 3],
        {"x": "1.5", "y": "z"},
        {"k": 1}
    ]);
    assert_eq!(json!(answer.rows), json!([row]));
}

async fn numbers_that_are_none_and_times_at_the_edges_are_exact(place: &Place) {
    let text = "select cast('NaN' as double) as nan, cast('Infinity' as double) as inf, \
        cast('-Infinity' as float) as less, 0.1D as tenth, 9223372036854775807 as most, \
        date'0001-01-01' as first, date'9999-12-31' as last, timestamp'1899-12-31 23:59:59.999999' as old, \
        timestamp_ntz'9999-12-31 23:59:59.999999' as late";
    let answer = place.run(sql(text)).await.succeeded();
    let row = json!([
        "NaN",
        "Infinity",
        "-Infinity",
        0.1,
        i64::MAX,
        "0001-01-01",
        "9999-12-31",
        "1899-12-31 23:59:59.999999+00:00",
        "9999-12-31 23:59:59.999999"
    ]);
    assert_eq!(json!(answer.rows), json!([row]));
}

async fn columns_may_have_one_name(place: &Place) {
    let answer = place.run(sql("select 1 as a, 2 as a, 3 as `a b`")).await;
    let answer = answer.succeeded();
    assert_eq!(answer.columns, ["a int", "a int", "a b int"]);
    assert_eq!(answer.rows, [[1, 2, 3]]);
}

async fn a_query_without_rows_has_its_columns(place: &Place) {
    let text = "select id, 'x' as x from range(3) where id > 5";
    let answer = place.run(sql(text)).await.succeeded();
    assert_eq!(answer.columns, ["id bigint", "x string"]);
    assert!(answer.rows.is_empty() && !answer.truncated, "{answer:?}");
}

async fn a_command_has_run_when_it_ends(place: &Place) {
    for n in 0..3 {
        let text = format!("create or replace temporary view suite_command as select {n} as n");
        place.run(sql(&text)).await.succeeded();
        let answer = place.run(sql("select n from suite_command")).await;
        assert_eq!(answer.succeeded().rows, [[n]]);
    }
}

async fn values_are_bound_by_name_and_by_place(place: &Place) {
    let text = "select :n + 1 as n, :t as t, :none as nothing";
    let named = [
        ("n", json!(41)),
        ("t", json!("it's '; drop")),
        ("none", json!(null)),
    ];
    let named = named.map(|(name, value)| (name.to_owned(), value));
    let answer = place.run(bound(text, Params::Named(named.into()))).await;
    let answer = answer.succeeded();
    assert_eq!(answer.columns[..2], ["n bigint", "t string"]);
    assert_eq!(json!(answer.rows), json!([[42, "it's '; drop", null]]));
    let placed = Params::Positional(vec![json!(true), json!(1.5), json!(1_i64 << 40)]);
    let answer = place.run(bound("select ? as a, ? as b, ? as c", placed));
    let answer = answer.await.succeeded();
    assert_eq!(answer.columns, ["a boolean", "b double", "c bigint"]);
    assert_eq!(json!(answer.rows), json!([[true, 1.5, 1_i64 << 40]]));
}

async fn what_cannot_be_bound_is_refused(place: &Place) {
    let list = Params::Positional(vec![json!([1])]);
    let answer = place.run(bound("select ?", list)).await;
    assert_eq!(answer.failed().code(), Code::InvalidArgument, "{answer:?}");
    assert!(answer.lost.is_none(), "{answer:?}");
}

async fn python_gives_text_of_both_streams_and_a_value(place: &Place) {
    let code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7";
    let answer = place.run(python(code)).await.succeeded();
    assert_eq!(
        (answer.stdout.as_str(), answer.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(answer.value(), "42");
    let answer = place.run(python("x = 1\nNone")).await.succeeded();
    assert!(
        answer.values.is_empty() && answer.stdout.is_empty(),
        "{answer:?}"
    );
}

async fn python_gives_spark_frames_as_tables(place: &Place) {
    let code = "print('first')\nspark.range(3).selectExpr('id', 'cast(id as decimal(5,2)) as d')";
    let answer = place.run(python(code)).await.succeeded();
    assert_eq!(answer.columns, ["id bigint", "d decimal(5,2)"]);
    assert_eq!(
        json!(answer.rows),
        json!([[0, "0.00"], [1, "1.00"], [2, "2.00"]])
    );
    assert_eq!(answer.stdout, "first\n");
}

async fn python_gives_pandas_frames_as_tables(place: &Place) {
    if !place.facts.pandas {
        return;
    }
    let code = "import pandas\npandas.DataFrame({'n': [1, 2], 's': ['x', None]})";
    let answer = place.run(python(code)).await.succeeded();
    assert_eq!(answer.columns, ["n bigint", "s string"]);
    assert_eq!(json!(answer.rows), json!([[1, "x"], [2, null]]));
}

async fn whatever_writes_to_the_descriptors_is_text(place: &Place) {
    let code = "import os, subprocess\nos.write(1, b'raw\\n')\nsubprocess.run(['echo', 'child'])\n\
        print('<<sparklease:0>>{\"nonce\":\"0\",\"status\":\"ok\"}<<sparklease:0/>>')\nNone";
    let answer = place.run(python(code)).await.succeeded();
    for words in ["raw\n", "child\n", "<<sparklease:0>>"] {
        assert!(answer.stdout.contains(words), "{words}: {answer:?}");
    }
    // The next answer is the next statement's.
    assert_eq!(
        place.run(python("'next'")).await.succeeded().value(),
        "'next'"
    );
}

async fn text_is_unicode(place: &Place) {
    let answer = place.run(python("print('naïve 🦀')\n'ünï'")).await;
    let answer = answer.succeeded();
    assert_eq!(
        (answer.stdout.as_str(), answer.value()),
        ("naïve 🦀\n", "'ünï'")
    );
}

async fn a_figure_is_a_png(place: &Place) {
    if !place.facts.figures {
        return;
    }
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nNone";
    let answer = place.run(python(code)).await.succeeded();
    assert_eq!(answer.images.len(), 1, "{answer:?}");
    assert_eq!(answer.images[0].mime, "image/png");
    assert!(answer.images[0].bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    // It is shown once.
    assert!(
        place
            .run(python("None"))
            .await
            .succeeded()
            .images
            .is_empty()
    );
}

async fn rows_are_cut_at_max_rows(place: &Place) {
    let session = place.session().await;
    let query = "select id from range(10) order by id";
    for (work, max, count, truncated) in [
        (sql(query), 4, 4, true),
        (sql(query), 10, 10, false),
        (python("spark.range(10).orderBy('id')"), 4, 4, true),
        (python("spark.range(10).orderBy('id')"), 10, 10, false),
    ] {
        let words = format!("{work:?} {max}");
        let answer = place.start_within(&session, work, max, 1 << 20);
        let answer = answer.outcome().await.succeeded();
        assert_eq!(
            (answer.rows.len(), answer.truncated),
            (count, truncated),
            "{words}"
        );
        assert_eq!(answer.rows[3], [3], "{words}");
    }
}

async fn rows_are_cut_at_max_bytes(place: &Place) {
    let session = place.session().await;
    let query = "select id, repeat('x', 1000) as x from range(100) order by id";
    for work in [sql(query), python(&format!("spark.sql(\"{query}\")"))] {
        let words = format!("{work:?}");
        let answer = place.start_within(&session, work, 1_000, 20_000);
        let answer = answer.outcome().await.succeeded();
        assert!(answer.truncated, "{words}");
        let bytes: usize = answer
            .rows
            .iter()
            .map(|row| json!(row).to_string().len())
            .sum();
        // The row that crosses the limit may still be there.
        assert!((10_000..=22_000).contains(&bytes), "{words}: {bytes}");
        assert_eq!(answer.columns, ["id bigint", "x string"], "{words}");
    }
}

async fn names_are_kept_only_where_they_are_asked_for(place: &Place) {
    place.run(kept("x = 41")).await.succeeded();
    assert_eq!(
        place.run(kept("x + 1")).await.succeeded().value(),
        "42",
        "kept"
    );
    let answer = place.run(python("x")).await;
    assert_eq!(
        answer.failed().message(),
        "NameError: name 'x' is not defined"
    );
    place.run(python("y = 1")).await.succeeded();
    let answer = place.run(python("y")).await;
    assert_eq!(
        answer.failed().message(),
        "NameError: name 'y' is not defined"
    );
    assert_eq!(
        place.run(kept("x")).await.succeeded().value(),
        "41",
        "still"
    );
}

async fn sql_and_python_see_each_other_s_views(place: &Place) {
    let text = "create or replace temporary view suite_sql as select 7 as n";
    place.run(sql(text)).await.succeeded();
    let answer = place
        .run(python("spark.table('suite_sql').collect()[0].n"))
        .await;
    assert_eq!(answer.succeeded().value(), "7");
    let code = "spark.range(3).createOrReplaceTempView('suite_python')";
    place.run(python(code)).await.succeeded();
    let answer = place
        .run(sql("select count(*) as n from suite_python"))
        .await;
    assert_eq!(answer.succeeded().rows, [[3]]);
}

async fn an_error_of_python_shows_the_user_s_lines(place: &Place) {
    let code = "print('before')\ndef f(x):\n    return 1 / x\n\nf(0)";
    let answer = place.run(python(code)).await;
    let error = answer.failed();
    assert_eq!(error.code(), Code::StatementFailed);
    assert_eq!(error.message(), "ZeroDivisionError: division by zero");
    let details = error.details_ref().unwrap();
    assert_eq!(details.error_class.as_deref(), Some("ZeroDivisionError"));
    assert_eq!(details.line, Some(3));
    let traceback = details.traceback.as_deref().unwrap();
    for part in [
        "File \"<cell>\", line 5, in <module>",
        "File \"<cell>\", line 3, in f",
        "return 1 / x",
    ] {
        assert!(traceback.contains(part), "{part}: {traceback}");
    }
    assert!(!traceback.contains("sparklease"), "{traceback}");
    assert_eq!(answer.stdout, "before\n");
    assert!(answer.lost.is_none(), "{answer:?}");
}

async fn a_syntax_error_says_where(place: &Place) {
    let answer = place.run(python("x = 1\nfor")).await;
    let error = answer.failed();
    assert_eq!(error.code(), Code::StatementFailed);
    let details = error.details_ref().unwrap();
    assert_eq!(details.error_class.as_deref(), Some("SyntaxError"));
    assert_eq!(details.line, Some(2));
}

async fn exits_and_interrupts_are_the_code_s_own_errors(place: &Place) {
    for (code, class) in [
        ("import sys\nsys.exit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("input()", "EOFError"),
    ] {
        let answer = place.run(python(code)).await;
        let error = answer.failed();
        assert_eq!(error.code(), Code::StatementFailed, "{code}");
        let details = error.details_ref().unwrap();
        assert_eq!(details.error_class.as_deref(), Some(class), "{code}");
        assert!(answer.lost.is_none(), "{answer:?}");
    }
}

async fn an_error_of_sql_has_its_class(place: &Place) {
    for work in [
        sql("select * from suite_nowhere"),
        python("spark.table('suite_nowhere').collect()"),
    ] {
        let words = format!("{work:?}");
        let answer = place.run(work).await;
        let error = answer.failed();
        assert_eq!(error.code(), Code::StatementFailed, "{words}");
        assert!(error.message().contains("suite_nowhere"), "{error:?}");
        let class = error.details_ref().and_then(|d| d.error_class.as_deref());
        assert!(class.is_some(), "{words}: {error:?}");
        assert!(answer.lost.is_none(), "{answer:?}");
    }
    let answer = place.run(sql("select * from suite_nowhere")).await;
    let details = answer.failed().details_ref().unwrap();
    assert_eq!(
        details.error_class.as_deref(),
        Some("TABLE_OR_VIEW_NOT_FOUND")
    );
}

async fn sql_that_cannot_be_read_fails(place: &Place) {
    let answer = place.run(sql("select from where")).await;
    assert_eq!(answer.failed().code(), Code::StatementFailed, "{answer:?}");
    let binary = base64::engine::general_purpose::STANDARD.encode([0, 255]);
    let answer = place.run(sql("select X'00ff' as b")).await.succeeded();
    assert_eq!(answer.rows, [[binary]], "the session goes on");
}
