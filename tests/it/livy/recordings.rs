//! The recordings of a real server (`tests/cases/livy/*.jsonl`), case by case: the code of each is run by our tools, or it
//! is written here which test stands for it, or why it cannot happen with our client.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::server::LivyServer;
use super::{cancel, deaths};
use crate::common::{Answer, Server};

/// What stands for a case that no table runs.
enum Proof {
    /// A test: its file below the repository, and its name.
    Test(&'static str, &'static str),
    /// Our client never asks this; why.
    Never(&'static str),
}

use Proof::{Never, Test};

/// The recorded statements of a case, as `(code, kind)`; an empty kind is the session's, `pyspark`.
pub(super) type Codes = Vec<(String, String)>;

/// Every case of a file, in order, with its statements. A case's `open` and what is run after it belong to it.
pub(super) fn cases(file: &str) -> Vec<(String, Codes)> {
    let path = format!(
        "{}/tests/cases/livy/{file}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let mut found: Vec<(String, Codes)> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let case = record["case"].as_str().unwrap();
        let after = [": open", ": next statement", ": next statements"];
        if after.iter().any(|end| case.ends_with(end)) {
            continue;
        }
        if found.last().is_none_or(|(last, _)| last != case) {
            found.push((case.to_owned(), Vec::new()));
        }
        let request = &record["request"];
        let sent = request["path"].as_str().unwrap_or_default();
        if request["method"] == "POST" && sent.ends_with("/statements") {
            let word = |name: &str| {
                request["body"][name]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let codes = &mut found.last_mut().unwrap().1;
            codes.push((word("code"), word("kind")));
        }
    }
    found
}

const ERROR: &str = "src/platform/livy/error.rs";
const PLATFORM: &str = "src/platform/livy/tests.rs";
const FAULTS: &str = "tests/it/livy/faults.rs";
const BAD: &str = "tests/it/livy/bad_server.rs";
const WORK: &str = "tests/it/livy/work.rs";

/// What stands for the cases of the other files.
const ELSEWHERE: &[(&str, &str, Proof)] = &[
    (
        "lifecycle",
        "version",
        Test(BAD, "doctor_tells_version_backstop_and_what_is_wrong"),
    ),
    (
        "lifecycle",
        "empty list",
        Test(BAD, "doctor_tells_version_backstop_and_what_is_wrong"),
    ),
    (
        "lifecycle",
        "open",
        Test(WORK, "a_query_comes_back_and_its_session_is_deleted"),
    ),
    (
        "lifecycle",
        "look",
        Test(
            "tests/it/livy/ends.rs",
            "a_busy_session_outlives_the_server_s_heartbeat_and_its_idle_limit",
        ),
    ),
    (
        "lifecycle",
        "duplicate name",
        Test(
            PLATFORM,
            "a_name_that_is_taken_means_that_an_earlier_create_worked",
        ),
    ),
    (
        "lifecycle",
        "run",
        Test(WORK, "python_gives_text_tables_figures_and_its_own_errors"),
    ),
    ("lifecycle", "completion", Never("no tool completes code")),
    (
        "lifecycle",
        "queue",
        Never("a session of ours runs one statement at a time; others wait with us"),
    ),
    (
        "lifecycle",
        "busy look",
        Test(
            FAULTS,
            "a_session_that_is_closed_while_python_runs_leaves_no_process",
        ),
    ),
    (
        "lifecycle",
        "delete",
        Test(WORK, "a_query_comes_back_and_its_session_is_deleted"),
    ),
    (
        "lifecycle",
        "delete while starting",
        Test(
            "tests/it/livy/cancel.rs",
            "a_call_that_is_cancelled_while_its_session_starts_leaves_no_session",
        ),
    ),
    (
        "lifecycle",
        "name free again",
        Never("a name is used once: the ledger makes each anew"),
    ),
    (
        "lifecycle",
        "fails to start",
        Test(
            "tests/it/livy/deaths.rs",
            "a_session_that_cannot_start_says_so_with_the_end_of_its_log",
        ),
    ),
    (
        "errors",
        "open",
        Test(WORK, "a_query_comes_back_and_its_session_is_deleted"),
    ),
    (
        "errors",
        "unknown session",
        Test(
            ERROR,
            "the_server_s_own_words_tell_a_dead_session_from_a_bad_call",
        ),
    ),
    (
        "errors",
        "unknown session delete",
        Test(
            "tests/it/livy/deaths.rs",
            "a_session_that_the_server_has_forgotten_is_lost_and_the_next_call_works",
        ),
    ),
    (
        "errors",
        "unknown name",
        Test(
            "tests/it/livy/deaths.rs",
            "a_session_that_the_server_has_forgotten_is_lost_and_the_next_call_works",
        ),
    ),
    (
        "errors",
        "unknown session statement",
        Test(
            "tests/it/livy/deaths.rs",
            "a_session_that_the_server_has_forgotten_is_lost_and_the_next_call_works",
        ),
    ),
    (
        "errors",
        "unknown statement",
        Test(ERROR, "every_form_of_a_body_is_read"),
    ),
    (
        "errors",
        "cancel unknown statement",
        Never("only a statement with the server's own number is cancelled"),
    ),
    (
        "errors",
        "statement id not a number",
        Never("numbers come from the server"),
    ),
    (
        "errors",
        "not JSON",
        Never("bodies are written by a JSON library"),
    ),
    (
        "errors",
        "empty body",
        Never("every POST has a body, and every statement its code"),
    ),
    (
        "errors",
        "empty object",
        Never("every POST has a body, and every statement its code"),
    ),
    ("errors", "array", Never("bodies are objects")),
    (
        "errors",
        "unknown field",
        Test(ERROR, "a_status_and_a_body_make_one_code"),
    ),
    (
        "errors",
        "unknown kind",
        Never("the kind is always pyspark"),
    ),
    (
        "errors",
        "wrong type",
        Never("`conf` holds texts only, and nothing else can be set"),
    ),
    (
        "errors",
        "name all digits",
        Never("a name begins with letters"),
    ),
    ("errors", "name empty", Never("a name is never empty")),
    ("errors", "ttl of nonsense", Never("ttl is not sent")),
    (
        "errors",
        "forbidden conf",
        Test(
            "tests/it/livy/deaths.rs",
            "a_setting_that_the_server_refuses_is_named",
        ),
    ),
    (
        "errors",
        "statement unknown field",
        Never("a statement is its code and its kind"),
    ),
    (
        "errors",
        "statement unknown kind",
        Never("the kind is always pyspark"),
    ),
    (
        "errors",
        "unknown route",
        Test(BAD, "a_wrong_path_is_named"),
    ),
    (
        "errors",
        "wrong method",
        Never("GET, POST and DELETE are all we send"),
    ),
    (
        "errors",
        "patch",
        Never("GET, POST and DELETE are all we send"),
    ),
    ("errors", "batches", Never("no tool makes batches")),
    (
        "errors",
        "batch without file",
        Never("no tool makes batches"),
    ),
    (
        "csrf",
        "without X-Requested-By",
        Test(BAD, "a_token_and_headers_open_the_door"),
    ),
    (
        "limits",
        "many creates",
        Test(
            "tests/it/livy/deaths.rs",
            "a_server_without_room_is_capacity_and_not_an_error_of_the_caller",
        ),
    ),
];

#[test]
fn every_recorded_case_is_run_or_named() {
    let mut unproved = Vec::new();
    for file in ["deaths", "cancel", "statements"] {
        for (case, _) in cases(file) {
            let run = match file {
                "deaths" => deaths::knows(&case),
                "cancel" => cancel::knows(&case),
                _ => expected(&case).is_some(),
            };
            if !run {
                unproved.push(format!("{file}: {case}"));
            }
        }
    }
    for file in ["lifecycle", "errors", "csrf", "limits"] {
        for (case, _) in cases(file) {
            let proof = ELSEWHERE.iter().find(|row| row.0 == file && row.1 == case);
            match proof.map(|row| &row.2) {
                Some(Never(why)) => assert!(!why.is_empty()),
                Some(Test(path, test)) => {
                    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
                    let text = std::fs::read_to_string(&path).expect(&path);
                    assert!(
                        text.contains(&format!("fn {test}(")),
                        "{path} has no {test}"
                    );
                }
                None => unproved.push(format!("{file}: {case}")),
            }
        }
    }
    assert_eq!(unproved, [""; 0], "recorded, and neither run nor named");
    for (file, case, _) in ELSEWHERE {
        let known = cases(file).iter().any(|(name, _)| name == case);
        assert!(known, "nobody has recorded {file}: {case}");
    }
}

/// What our tools make of a recorded statement.
enum Then {
    /// The last value, as shown.
    Value(&'static str),
    /// What it printed.
    Output(&'static str),
    /// Nothing but success.
    Quiet,
    /// Rows, as CSV.
    Rows(&'static str),
    /// The code raised this class.
    Raises(&'static str),
    /// It succeeds, and the answer contains this.
    Shows(&'static str),
    /// A figure.
    Figure,
    /// Our tools never send it, or cannot; the comment says why.
    Never,
}

/// What each recorded statement comes to. Livy's own magics are no Python: they fail as such and harm nothing.
fn expected(case: &str) -> Option<Then> {
    Some(match case {
        // It opens the session.
        "open" => Then::Never,
        "pyspark: 1 + 1" => Then::Value("2"),
        "pyspark: print('hello')" => Then::Output("hello"),
        "pyspark: print('a'); print('b'); 3" => Then::Value("3"),
        "pyspark: x = 1" | "pyspark: None" => Then::Quiet,
        "pyspark: ''" => Then::Value("''"),
        "pyspark: 'é ∑ 😀 \\n'" => Then::Value("'é ∑ 😀 \\n'"),
        "pyspark: 'x' * 3000" => Then::Shows("xxxxxxxxxxxxxxxxxxxxxxxx"),
        "pyspark: [1, None, 2.5]" => Then::Value("[1, None, 2.5]"),
        "pyspark: f(0)" => Then::Raises("ZeroDivisionError"),
        "pyspark: f(1)" => Then::Value("1.0"),
        "pyspark: 1 +" => Then::Raises("SyntaxError"),
        "pyspark:   x" => Then::Raises("IndentationError"),
        "pyspark: raise ValueError('multi\\nline')" => Then::Raises("ValueError"),
        "pyspark: import sys; print('to stderr', file=sys.stderr); print('to s" => {
            Then::Output("to stdout\nto stderr")
        }
        "pyspark: import warnings; warnings.warn('careful')" => Then::Shows("careful"),
        "pyspark: spark.range(3)" => Then::Rows("0\n1\n2"),
        "pyspark: spark.range(3).show()" => Then::Shows("|  2|"),
        "pyspark: spark.range(3).collect()" => Then::Value("[Row(id=0), Row(id=1), Row(id=2)]"),
        "pyspark: spark.sql('select * from nope')" => Then::Raises("TABLE_OR_VIEW_NOT_FOUND"),
        // Which class a syntax error has is the engine's own.
        "pyspark: spark.sql('selec 1')" => Then::Raises(""),
        "pyspark: spark.version, __import__('sys').version" => Then::Shows("3."),
        "pyspark: spark.range(3).toPandas()" => Then::Rows("0\n1\n2"),
        "pyspark: %table t"
        | "pyspark: %json d"
        | "pyspark: %matplot plt"
        | "pyspark: %nosuch x"
        | "pyspark: %table t2" => Then::Raises("SyntaxError"),
        "pyspark: import matplotlib; matplotlib.use('Agg'); import matplotlib." => Then::Figure,
        "pyspark: a + b" => Then::Value("3"),
        "pyspark: i" => Then::Value("1"),
        "pyspark: A()" => Then::Raises("RuntimeError"),
        "pyspark: import time; time.sleep(0.2); 'slept'" => Then::Value("'slept'"),
        "pyspark: spark.sparkContext.parallelize(range(4), 2).map(lambda i: 1/" => {
            // RDDs need a JVM, which the test server has not.
            Then::Never
        }
        "pyspark: print('{\"msg_type\": \"execute_reply\"}')" => {
            Then::Output("{\"msg_type\": \"execute_reply\"}")
        }
        "sql: SELECT 1 AS one" => Then::Rows("1"),
        "sql: SELECT cast('12345678901234567890.123456789' as decimal(38,9" => {
            Then::Shows("12345678901234567890.123456789")
        }
        "sql: SELECT 1 AS a, 2 AS a" => Then::Rows("1,2"),
        "sql: SELECT id FROM range(1500)" => Then::Shows("# rows: 100 of 1500"),
        "sql: SELECT * FROM nope" | "sql: SELEC 1" | "sql: SELECT 1; SELECT 2" => Then::Raises(""),
        "sql: SHOW TABLES" | "sql: CREATE OR REPLACE TEMP VIEW v AS SELECT 1 AS x" => Then::Quiet,
        "sql: SELECT * FROM v" => Then::Rows("1"),
        // The kind is always pyspark.
        "spark kind in a pyspark session" => Then::Never,
        // The recording has not its code, and a call takes 1 MiB.
        "2 MB of base64 code" => Then::Never,
        "1000000 characters printed" | "20000000 characters printed" => {
            Then::Shows("xxxxxxxxxxxxxxxxxxxxxxxx")
        }
        _ => return None,
    })
}

fn value_of(answer: &Answer, label: &str) -> String {
    let text = answer.data(label).unwrap_or_default();
    text.trim_end_matches('\n').to_owned()
}

/// What is wrong with an answer.
fn judge(then: &Then, answer: &Answer) -> Option<String> {
    let well = |what: bool| (!answer.is_error && what).then_some(());
    let seen = match then {
        Then::Value(text) => well(value_of(answer, "value") == *text),
        Then::Output(text) => well(value_of(answer, "output") == *text),
        Then::Quiet => well(answer.status() == "succeeded"),
        Then::Rows(text) => {
            let rows = value_of(answer, "rows");
            well(rows.split_once('\n').is_some_and(|(_, rows)| rows == *text))
        }
        Then::Shows(text) => well(answer.text.contains(text)),
        Then::Figure => well(answer.images.len() == 1),
        Then::Raises(class) => {
            let told = &answer.structured["details"]["error_class"];
            let right = answer.structured["code"] == "statement_failed"
                && (class.is_empty() || told == class);
            right.then_some(())
        }
        Then::Never => Some(()),
    };
    seen.is_none().then(|| answer.text.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recorded_statement_gives_its_own_result_in_one_session_that_stays() {
    let livy = LivyServer::start(&[]).await;
    let server = livy.client().await;
    server
        .call("open_session", json!({"name": "all"}))
        .await
        .ok();
    let mut wrong = BTreeMap::new();
    for (case, codes) in cases("statements") {
        let then = expected(&case).unwrap_or_else(|| panic!("nobody expects {case}"));
        if matches!(then, Then::Never) {
            continue;
        }
        let count = codes.len();
        for (turn, (code, kind)) in codes.into_iter().enumerate() {
            let answer = ran(&server, &code, &kind).await;
            // The case is its last statement; those before it prepare it.
            if turn + 1 == count
                && let Some(said) = judge(&then, &answer)
            {
                wrong.insert(case.clone(), said);
            }
        }
    }
    assert_eq!(wrong, BTreeMap::new());
    assert_eq!(livy.sessions().await.len(), 1, "the session has stayed");
    server.end().await;
    livy.empties().await;
    livy.end().await;
}

async fn ran(server: &Server, code: &str, kind: &str) -> Answer {
    let wait = crate::common::PATIENCE.as_secs();
    let (tool, name) = match kind {
        "sql" => ("run_sql", "sql"),
        _ => ("run_pyspark", "code"),
    };
    server
        .call(tool, json!({name: code, "session": "all", "wait_s": wait}))
        .await
}
