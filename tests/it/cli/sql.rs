//! `sparklease sql`.

use rstest::rstest;
use serde_json::json;

use super::{User, secret};

const ORDERS: &str = "id,country,note\n1,DE,\n2,FR,\"a,\"\"b\"\"\"\n3,DE,x\n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_a_pipe_are_csv_where_null_and_empty_text_differ() {
    let user = User::new().await;
    let sql = "select 1 as n, cast(null as string) as nothing, '' as empty, 'a,\"b\"' as quoted, \
               date'2024-02-29' as day, cast(1.50 as decimal(9,2)) as d";
    assert_eq!(
        user.run(&["sql", sql]).await.printed(),
        "n,nothing,empty,quoted,day,d\n1,,\"\",\"a,\"\"b\"\"\",2024-02-29,1.50\n"
    );
    assert_eq!(
        user.run(&["sql", "--format", "markdown", "select 1 as n"])
            .await
            .printed(),
        "| n int |\n| --- |\n| 1 |\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_become_views_whatever_their_format() {
    let user = User::new().await;
    user.write("orders.csv", ORDERS);
    user.write(
        "names.jsonl",
        "{\"code\":\"DE\",\"name\":\"Germany\"}\n{\"code\":\"FR\",\"name\":\"France\"}\n",
    );
    let join = "select c.name, count(*) as n from orders o join c on o.country = c.code group by 1 order by 1";
    let files = ["--file", "orders.csv", "--file", "c=names.jsonl"];
    let csv = "name,n\nFrance,1\nGermany,2\n";
    assert_eq!(
        user.run(&[&["sql"], &files[..], &[join]].concat())
            .await
            .printed(),
        csv
    );
    user.feed(
        &["run", "-"],
        "spark.range(3).write.parquet('three.parquet')\n",
    )
    .await
    .printed();
    let sum = [
        "sql",
        "-f",
        "three.parquet",
        "select sum(id) as s from three",
    ];
    assert_eq!(user.run(&sum).await.printed(), "s\n3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_comes_from_stdin_and_its_parameters_from_flags() {
    let user = User::new().await;
    let params = [
        "-p",
        "n=5",
        "-p",
        "word=it's",
        "-p",
        "none=null",
        "-p",
        "text=\"5\"",
    ];
    let sql = "select :n + 1 as n, :word as word, :none is null as none, typeof(:text) as text";
    assert_eq!(
        user.feed(&[&["sql", "-"], &params[..]].concat(), sql)
            .await
            .printed(),
        "n,word,none,text\n6,it's,true,string\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_missing_are_said_on_stderr_and_in_the_document() {
    let user = User::new().await;
    let some = [
        "sql",
        "--max-rows",
        "2",
        "select id from range(5) order by id",
    ];
    let ran = user.run(&some).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "id\n0\n1\n"));
    assert_eq!(
        ran.stderr,
        "warning: only the first 2 rows are shown, there are more; print more with `--max-rows N` (up to 1000000), \
         or aggregate in the statement\n"
    );
    let mut document = user.run(&[&some[..], &["--json"]].concat()).await.json();
    let elapsed = document
        .as_object_mut()
        .unwrap()
        .remove("elapsed_s")
        .unwrap();
    assert!(elapsed.as_f64().unwrap() > 0.0);
    let engine = document.as_object_mut().unwrap().remove("engine").unwrap();
    assert!(engine.as_str().unwrap().starts_with("Sail "), "{engine}");
    assert_eq!(
        document,
        json!({"columns": [{"name": "id", "type": "bigint"}], "rows": [[0], [1]], "row_count": 2,
            "truncated": true, "warnings": [], "target": "local"})
    );
    let all = user
        .run(&["sql", "--max-rows", "5", "select id from range(5)"])
        .await;
    assert_eq!(all.printed().lines().count(), 6);
}

#[rstest]
#[case::syntax(&["selct 1"], 1, "statement_failed", "line 1, column 1")]
#[case::table(&["select * from nowhere"], 1, "statement_failed", "hint: Check the name with `sparklease sql \"show tables\"`, or pass a local file by --file")]
#[case::target(&["--target", "nope", "select 1"], 1, "not_found", "The targets are: local")]
#[case::files(&["-f", "no.csv", "-f", "x=neither.csv", "select 1"], 1, "not_found", "no.csv is not there; neither.csv is not there")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_on_stderr_with_its_exit_code(
    #[case] arguments: &[&str],
    #[case] exit: i32,
    #[case] code: &str,
    #[case] says: &str,
) {
    let user = User::new().await;
    let arguments = [&["sql"], arguments].concat();
    let said = user.run(&arguments).await.failed(exit, code);
    assert!(said.contains(says) && said.contains("\nhint: "), "{said}");

    let ran = user.run(&[&arguments[..], &["--json"]].concat()).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(exit), ""), "{ran:?}");
    let document: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(document["code"], code, "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_flag_is_a_matter_of_usage() {
    let user = User::new().await;
    for arguments in [&["sql"][..], &["sql", "--max-rows", "0", "select 1"]] {
        let ran = user.run(arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_environment_is_never_printed() {
    let mut user = User::new().await;
    let secret = secret();
    user.export("IT_SERVICE_TOKEN", &secret);
    user.export("SPARKLEASE__ENGINE__WHEELS", &format!("/wheels/{secret}"));
    user.write("it.csv", format!("a\n{secret}\n"));
    user.write("it.py", "text = open('it.csv').read()\nprint(text)\nimport sys\nprint(text, file=sys.stderr)\nraise ValueError(text)\n");
    let failing = format!("select raise_error('{secret}')");
    let nowhere = format!("/{secret}.csv");
    let document = ["sql", "--json", "-f", "it.csv", "select * from it"];
    for (arguments, exit) in [
        (&["sql", "-f", "it.csv", "select * from it"][..], 0),
        (&document, 0),
        (&["sql", &failing], 1),
        (&["sql", "-f", &nowhere, "select 1"], 1),
        (&["run", "it.py"], 1),
        (&["run", "--json", "it.py"], 1),
        (&["run", &nowhere], 1),
        (&["config", "show"], 0),
        (&["config", "show", "--json"], 0),
    ] {
        let ran = user.run(arguments).await;
        assert_eq!(ran.code, Some(exit), "{ran:?}");
        assert!(!format!("{ran:?}").contains(&secret), "{arguments:?}");
        // It was there to be shown: something stands in its place.
        assert!(
            format!("{ran:?}").contains("redacted"),
            "{arguments:?}: {ran:?}"
        );
    }
}
