//! Queries, Python, figures, named sessions: what works on `local` works here, and values come back exact.

use std::fmt::Write as _;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use super::server::LivyServer;
use crate::common::{Answer, PATIENCE, Server, arguments_of};

/// The rows of an answer whose types hold commas.
fn rows(answer: &Answer) -> Vec<Vec<String>> {
    let body = answer.data("rows").expect("rows");
    let (_, body) = body.split_once('\n').expect("a line of names");
    csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(body.as_bytes())
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_comes_back_and_its_session_is_deleted() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let answer = server.sql("select 40 + 2 as n").await;
    assert_eq!(answer.cell(), "42");
    assert!(answer.text.contains("Apache Livy"), "{}", answer.text);
    assert_eq!(livy.listed().await, 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_exact() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let answer = server
        .sql(
            "select cast('12345678901234567890.123456789012345678' as decimal(38,18)) as d, 9007199254740993 as l, \
             date'2024-02-29' as day, timestamp'2024-01-02 03:04:05.123456' as t, \
             timestamp_ntz'2024-01-02 03:04:05.123456' as tn, X'00ff' as b, 'naïve 🦀' as u, \
             cast('NaN' as double) as nan, null as nothing, array(1, null, 3) as a, \
             named_struct('x', 1.5, 'y', 'z') as s, map('k', 1) as m, 1 as same, 2 as same",
        )
        .await;
    let row = &rows(&answer)[0];
    assert_eq!(
        row.as_slice(),
        [
            "12345678901234567890.123456789012345678",
            "9007199254740993",
            "2024-02-29",
            "2024-01-02 03:04:05.123456+00:00",
            "2024-01-02 03:04:05.123456",
            "AP8=",
            "naïve 🦀",
            "NaN",
            "",
            "[1,null,3]",
            "{\"x\":\"1.5\",\"y\":\"z\"}",
            "{\"k\":1}",
            "1",
            "2"
        ],
        "{}",
        answer.text
    );
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_bound_and_never_pasted() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let answer = server
        .call(
            "query_sql",
            json!({"sql": "select :n + 1 as n, :text as t", "params": {"n": 41, "text": "it's '; drop"}}),
        )
        .await
        .ok();
    assert_eq!(answer.csv(), [["42", "it's '; drop"]]);
    assert!(answer.text.contains("n bigint"), "{}", answer.text);
    let answer = server
        .call(
            "query_sql",
            json!({"sql": "select ? as a, ? as b", "params": [true, 1.5]}),
        )
        .await
        .ok();
    assert_eq!(answer.csv(), [["true", "1.5"]]);
    server
        .call(
            "query_sql",
            json!({"sql": "select :x", "params": {"x": [1]}}),
        )
        .await
        .failed("invalid_argument");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_gives_text_tables_figures_and_its_own_errors() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    let answer = server
        .python("import sys\nprint('out')\nprint('err', file=sys.stderr)\nspark.range(2)")
        .await;
    assert_eq!(answer.data("output"), Some("out\nerr\n"));
    assert_eq!(answer.csv(), [["0"], ["1"]]);
    let answer = server
        .python("import matplotlib.pyplot as plt\nplt.plot([1, 2])\n6 * 7")
        .await;
    assert_eq!(answer.data("value"), Some("42\n"));
    assert_eq!(answer.images.len(), 1);
    let answer = server
        .call("run_pyspark", json!({"code": "x = 1\ny = x / 0"}))
        .await
        .failed("statement_failed");
    assert_eq!(answer.structured["details"]["line"], 2);
    assert_eq!(
        answer.structured["details"]["error_class"],
        "ZeroDivisionError"
    );
    server
        .call("query_sql", json!({"sql": "select nope from nowhere"}))
        .await
        .failed("statement_failed");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_session_keeps_its_variables_and_views_and_an_unnamed_one_does_not() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server
        .call("open_session", json!({"name": "work"}))
        .await
        .ok();
    let run = |code: &'static str| json!({"code": code, "session": "work"});
    server
        .call(
            "run_pyspark",
            run("x = 41\nspark.range(3).createOrReplaceTempView('v')"),
        )
        .await
        .ok();
    let answer = server.call("run_pyspark", run("x + 1")).await.ok();
    assert_eq!(answer.data("value"), Some("42\n"));
    let answer = server
        .call(
            "query_sql",
            json!({"sql": "select count(*) from v", "session": "work"}),
        )
        .await
        .ok();
    assert_eq!(answer.cell(), "3");
    server.python("z = 1").await;
    server
        .call("run_pyspark", json!({"code": "z"}))
        .await
        .failed("statement_failed");
    server
        .call("close_session", json!({"session": "work"}))
        .await
        .ok();
    assert_eq!(livy.listed().await, 1);
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

const MANY: u32 = 100_000;

/// Ten columns of as many types; what each must be is computed by [`expected`] alone.
const MIXED: &str = "select id, \
    cast(concat(cast(id as string), '.', lpad(cast(id as string), 18, '0')) as decimal(38,18)) as d, \
    cast(id as double) / 3 as f, \
    concat('naïve 🦀 \"q\", ', cast(id as string), '\\n') as s, \
    id % 2 = 0 as b, \
    timestamp_micros(id * 1000000007 + 1) as t, \
    date_add(date'2000-01-01', cast(id % 10000 as int)) as day, \
    if(id % 7 = 0, null, id * 92233720368547) as n, \
    array(id, null, id + 1) as a, \
    named_struct('k', id, 's', 'x') as k \
    from range(100000) order by id";

fn expected(id: u32) -> [String; 10] {
    let wide = i64::from(id);
    let at = Timestamp::from_microsecond(wide * 1_000_000_007 + 1).unwrap();
    let day = date(2000, 1, 1) + (wide % 10_000).days();
    [
        id.to_string(),
        format!("{id}.{id:018}"),
        format!("{:?}", f64::from(id) / 3.0),
        format!("naïve 🦀 \"q\", {id}\n"),
        id.is_multiple_of(2).to_string(),
        at.strftime("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string(),
        day.to_string(),
        if id.is_multiple_of(7) {
            String::new()
        } else {
            (wide * 92_233_720_368_547).to_string()
        },
        format!("[{id},null,{}]", id + 1),
        format!("{{\"k\":{id},\"s\":\"x\"}}"),
    ]
}

/// Reads page after page, as an assistant would, and compares each value; gives what is wrong first.
async fn compare(server: &Server, first: Answer) -> Result<u32, String> {
    let (mut answer, mut id) = (first, 0);
    loop {
        for row in rows(&answer) {
            let wanted = expected(id);
            if row.as_slice() != wanted {
                return Err(format!("row {id}: {row:?} and not {wanted:?}"));
            }
            id += 1;
        }
        let Some(next) = answer.next().map(str::to_owned) else {
            return Ok(id);
        };
        let (tool, arguments) = arguments_of(&next);
        answer = server.call(&tool, arguments).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_of_ten_types_come_back_exact() {
    let livy = LivyServer::start(&[]).await;
    let mut more = "limits = { rows = 100000, bytes = \"64MiB\" }\n".to_owned();
    let _ = writeln!(
        more,
        "[server]\nanswer_bytes = \"1MiB\"\nstructured_copy = false"
    );
    let server = Server::without_engine(livy.setup_with(&more)).await;
    let wait = PATIENCE.as_secs();
    let code = format!("spark.sql({MIXED:?})");
    for (tool, arguments) in [
        (
            "query_sql",
            json!({"sql": MIXED, "max_rows": 10_000, "wait_s": wait}),
        ),
        (
            "run_pyspark",
            json!({"code": code, "max_rows": 10_000, "wait_s": wait}),
        ),
    ] {
        let answer = server.call(tool, arguments).await.ok();
        assert_eq!(compare(&server, answer).await, Ok(MANY), "{tool}");
    }
    server.end().await;
    livy.empties().await;
    livy.end().await;
}
