//! What goes wrong while a statement runs: each ends with a clear outcome, and the next call works.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{
    Answer, ENDLESS_SQL, PATIENCE, Place, Server, Setup, arguments_of, has_ended, kill, on,
    resident_bytes, wait_until,
};

on!([local livy faulty real]:
    a_million_rows_of_python_are_cut_with_counts_and_paged_without_gaps
    a_statement_that_outlives_its_call_gives_the_same_answer_later
    an_endless_query_is_cancelled_the_first_and_the_second_time
);
on!([local livy real]:
    an_endless_loop_ends_at_its_limit
    an_endless_loop_is_cancelled
    an_endless_query_ends_at_its_limit
    a_million_rows_of_sql_are_cut_with_counts_and_paged_without_gaps
    the_client_s_own_cancel_stops_python
    the_client_s_own_cancel_stops_sql
    a_cancelled_statement_that_still_waits_never_runs
);

/// From a cancel to an engine or an interpreter that stops when it is asked to. The ladder's next rung is at 5 s.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Kills a worker and waits for its end.
async fn killed_for_good(worker: u32) {
    kill(worker);
    wait_until("the worker has ended", PATIENCE, || has_ended(worker)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_idle_is_replaced_without_a_word() {
    let server = Server::start().await;
    server.works().await;
    let worker = server.worker();
    killed_for_good(worker).await;
    server.works().await;
    assert_ne!(server.worker(), worker);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_killed_while_it_waits_is_replaced_without_a_word() {
    let server = Server::with(Setup::new().config("")).await;
    server.sql("select 1").await;
    wait_until("there is a spare", PATIENCE, || server.workers().len() == 2).await;
    for worker in server.workers() {
        killed_for_good(worker).await;
    }
    server.works().await;
    server.end().await;
}

/// Why a killed worker is gone.
const REASON: &str =
    "it was killed (SIGKILL): by a cancel, by the system for want of memory, or by hand";

const KILLED: &str = "the session's worker process is gone: it was killed (SIGKILL): by a cancel, by the system for \
                      want of memory, or by hand";

/// Of Python, which may have done something before.
fn killed(answer: Answer) {
    let answer = answer.failed("session_lost");
    assert_eq!(
        answer.message(),
        format!("{KILLED}; it may have had effects before")
    );
    assert_eq!(
        answer.hint(),
        "Check what it has done, then call the tool again; a new session is opened. Variables and temp views of the old one are lost."
    );
    assert_eq!(answer.structured["retryable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_worker_is_killed_runs_again_and_is_session_lost_the_second_time() {
    let server = Server::start().await;
    let statement = server
        .launch("query_sql", json!({"sql": ENDLESS_SQL}))
        .await;
    server.reaches(&statement, "running").await;
    let first = server.worker();
    killed_for_good(first).await;
    wait_until("it runs again", PATIENCE, || server.workers().len() == 1).await;
    server.reaches(&statement, "running").await;
    kill(server.worker());
    let answer = server.ended(&statement).await.failed("session_lost");
    assert_eq!(
        answer.message(),
        format!("{KILLED}; it had been run again after its first session was lost too ({REASON})")
    );
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_worker_is_killed_gives_its_rows_from_the_second_one_and_says_so() {
    let server = Server::start().await;
    let statement = server
        .launch(
            "query_sql",
            json!({"sql": "select count(*) as n from range(40000) a, range(100000) b where a.id + b.id >= 0"}),
        )
        .await;
    server.reaches(&statement, "running").await;
    kill(server.worker());
    let answer = server.ended(&statement).await.ok();
    assert_eq!(answer.cell(), "4000000000");
    let again =
        format!("its first session was lost ({REASON}), so it was run again in another one");
    assert_eq!(answer.structured["warnings"], json!([again]));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_python_runs_is_session_lost() {
    let server = Server::start().await;
    let (statement, pid) = server
        .launch_python("print('before')\nwhile True: pass", json!({}))
        .await;
    assert_eq!(pid, server.worker());
    kill(pid);
    let answer = server.ended(&statement).await;
    assert_eq!(answer.data("output"), Some("before\n"), "{}", answer.text);
    killed(answer);
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_crashes_the_process_is_session_lost() {
    let server = Server::start().await;
    let code = "import ctypes\nfrom pyspark.sql.functions import udf\n\
                @udf('int')\ndef f(x):\n    ctypes.string_at(0)\n    return 1\n\
                spark.range(3).select(f('id')).collect()";
    let answer = server.call("run_pyspark", json!({"code": code})).await;
    let answer = answer.failed("session_lost");
    assert_eq!(
        answer.message(),
        "the session's worker process is gone: it crashed (segmentation fault); it may have had effects before"
    );
    server.works().await;
    server.end().await;
}

async fn an_endless_loop_ends_at_its_limit(place: Place) {
    let server = place.server().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    server
        .call("run_pyspark", json!({"session": "a", "code": "kept = 7"}))
        .await
        .ok();
    let answer = server
        .call(
            "run_pyspark",
            json!({"session": "a", "code": "while True: pass", "timeout_s": 1}),
        )
        .await
        .failed("timeout");
    let said = "the statement did not end within its limit of 1s and was cancelled";
    let next = server
        .call("run_pyspark", json!({"session": "a", "code": "kept"}))
        .await;
    if place.interrupts_python() {
        assert_eq!(answer.message(), said);
        assert_eq!(next.ok().data("value"), Some("7\n"));
    } else {
        assert_eq!(
            answer.message(),
            format!("{said}; its session had to be ended too, with its variables and temp views")
        );
        let next = next.failed("session_lost");
        assert!(
            next.message().contains("did not stop within"),
            "{}",
            next.text
        );
        let hint = next.hint();
        assert!(hint.starts_with("Call open_session(name=\"a\""), "{hint}");
    }
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn an_endless_loop_is_cancelled(place: Place) {
    let server = place.server().await;
    let (statement, pid) = server.launch_python("while True: pass", json!({})).await;
    let answer = server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    assert_eq!(server.ended(&statement).await.status(), "cancelled");
    // Once more is no error, and changes nothing.
    let again = server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    assert_eq!(again.status(), "cancelled");
    server.works().await;
    if place.interrupts_python() {
        assert_eq!(server.worker(), pid);
    }
    server.end().await;
    place.end().await;
}

/// The sum never gives the interpreter back, so that no interrupt is seen: only the kill helps.
#[tokio::test(flavor = "multi_thread")]
async fn python_that_cannot_be_interrupted_is_killed_and_its_names_are_lost() {
    let server = Server::start().await;
    server.call("open_session", json!({"name": "a"})).await.ok();
    // Once before, so that the limit of the next call is for its sum and not for imports.
    let code = json!({"session": "a", "code": "kept = 7"});
    server.call("run_pyspark", code).await.ok();
    let code = json!({"session": "a", "code": "sum(range(10**10))", "timeout_s": 1});
    let answer = server.call("run_pyspark", code).await.failed("timeout");
    assert_eq!(
        answer.message(),
        "the statement did not end within its limit of 1s and was cancelled; its session had to be ended too, with \
         its variables and temp views"
    );
    // The limit, and then the 5 s in which asking might have helped.
    assert!(answer.took >= Duration::from_secs(6), "{:?}", answer.took);
    let next = json!({"session": "a", "code": "kept"});
    let answer = server
        .call("run_pyspark", next.clone())
        .await
        .failed("session_lost");
    assert_eq!(
        answer.message(),
        "session \"a\" is gone: a cancelled statement did not stop within 5 s, so its worker was killed"
    );
    assert_eq!(
        answer.hint(),
        "Call open_session(name=\"a\") to start it anew; its variables and temp views are gone."
    );
    server.works().await;

    server.call("open_session", json!({"name": "a"})).await.ok();
    let (statement, _) = server
        .launch_python("sum(range(10**10))", json!({"session": "a"}))
        .await;
    let answer = server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    assert_eq!(
        answer.structured["warnings"],
        json!([
            "the session is gone (a cancelled statement did not stop within 5 s, so its worker was killed); its \
             variables and temp views are lost"
        ])
    );
    server.works().await;
    server.end().await;
}

async fn an_endless_query_is_cancelled_the_first_and_the_second_time(place: Place) {
    let server = place.server().await;
    for _ in 0..2 {
        let statement = server
            .launch("query_sql", json!({"sql": ENDLESS_SQL}))
            .await;
        server.reaches(&statement, "running").await;
        place.works_on_sql(&server).await;
        let answer = server
            .call("cancel_statement", json!({"statement": statement}))
            .await
            .ok();
        assert_eq!(answer.status(), "cancelled", "{}", answer.text);
    }
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn an_endless_query_ends_at_its_limit(place: Place) {
    let server = place.server().await;
    let answer = server
        .call("query_sql", json!({"sql": ENDLESS_SQL, "timeout_s": 1}))
        .await
        .failed("timeout");
    assert!(answer.took >= Duration::from_secs(1));
    server.works().await;
    server.end().await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gigabytes_of_output_keep_both_ends_and_a_small_server() {
    let server = Server::start().await;
    server.works().await;
    let before = resident_bytes(server.pid());
    let code =
        "print('the beginning')\nfor i in range(10000): print('x' * 10**6)\nprint('the end')";
    let call = json!({"code": code, "wait_s": PATIENCE.as_secs()});
    let pending = server.begin("run_pyspark", call).await;
    let answer = pending.answer();
    tokio::pin!(answer);
    let mut most = before;
    let answer = loop {
        tokio::select! {
            answer = &mut answer => break answer.ok(),
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                most = most.max(resident_bytes(server.pid()));
            }
        }
    };
    let grown = most - before;
    println!(
        "10 GB in {:?}, {} KiB more memory",
        answer.took,
        grown / 1024
    );
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
    let output = answer.data("output").unwrap();
    assert!(output.starts_with("the beginning\nxxx"), "{}", answer.text);
    assert!(output.ends_with("xxx\nthe end\n"), "{}", answer.text);
    // 10,000 lines with their ends, and the two words; less what is kept.
    let whole = 10_000 * 1_000_001 + 14 + 8;
    let kept = 2 * 64 * 1024;
    let note = answer
        .text
        .lines()
        .find(|line| line.ends_with("were not kept; print less, or write it to a file"))
        .unwrap_or_else(|| panic!("{}", answer.text));
    let dropped: u64 = note.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(
        (whole - 2 * kept..whole).contains(&dropped),
        "{dropped} of {whole}"
    );
    server.works().await;
    server.end().await;
}

/// Follows `next` to the end and gives all rows in the order in which they came.
async fn all_pages(server: &Server, first: Answer) -> Vec<Vec<String>> {
    let mut rows = first.csv();
    let mut next = first.next().map(str::to_owned);
    while let Some(call) = next {
        let (tool, arguments) = arguments_of(&call);
        assert_eq!(tool, "get_statement");
        let page = server.call(&tool, arguments).await.ok();
        assert_eq!(page.structured["row_count"], json!(page.csv().len()));
        rows.extend(page.csv());
        next = page.next().map(str::to_owned);
    }
    rows
}

fn is_cut(answer: &Answer) {
    assert_eq!(answer.structured["truncated"], true);
    let head = answer.text.lines().next().unwrap();
    let rows = answer.csv().len();
    assert!(
        head.starts_with(&format!(
            "# rows: {rows} of 10000 kept (the query has more)"
        )),
        "{head}"
    );
    assert!(answer.text.contains(
        "the query has more rows than were kept: aggregate, add a LIMIT, or write the result to a table"
    ));
}

async fn a_million_rows_of_sql_are_cut_with_counts_and_paged_without_gaps(place: Place) {
    let server = place.server().await;
    let sql = "select id, id * 2 as twice, concat('row ', id) as name from range(1000000)";
    let answer = server
        .call("query_sql", json!({"sql": sql, "max_rows": 3}))
        .await
        .ok();
    assert_eq!(answer.csv().len(), 3);
    is_cut(&answer);
    // The engine promises no order across its partitions; its own first answer says which one it was.
    let answer = server
        .call(
            "query_sql",
            json!({"sql": format!("{sql} order by id"), "max_rows": 5000}),
        )
        .await
        .ok();
    is_cut(&answer);
    let expected: Vec<_> = (0..10_000)
        .map(|n| vec![n.to_string(), (2 * n).to_string(), format!("row {n}")])
        .collect();
    assert_eq!(all_pages(&server, answer).await, expected);
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn a_million_rows_of_python_are_cut_with_counts_and_paged_without_gaps(place: Place) {
    let server = place.server().await;
    let code = "spark.range(1000000).orderBy('id')";
    let answer = server
        .call("run_pyspark", json!({"code": code, "max_rows": 10000}))
        .await
        .ok();
    is_cut(&answer);
    let expected: Vec<_> = (0..10_000).map(|n| vec![n.to_string()]).collect();
    assert_eq!(all_pages(&server, answer).await, expected);
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn a_statement_that_outlives_its_call_gives_the_same_answer_later(place: Place) {
    let server = place.server().await;
    let go = server.work().join("go");
    let code = format!(
        "import os, time\n\
         while not os.path.exists('{}'): time.sleep(0.01)\n\
         print('done')\nspark.range(5).orderBy('id')",
        go.display()
    );
    let early = server
        .call("run_pyspark", json!({"code": code, "wait_s": 0}))
        .await
        .ok();
    let statement = early.statement().to_owned();
    assert_eq!(
        early.next(),
        Some(format!("get_statement(statement=\"{statement}\", wait_s=25)").as_str())
    );
    server.reaches(&statement, "running").await;
    std::fs::write(go, "").unwrap();
    let (tool, arguments) = arguments_of(early.next().unwrap());
    let late = server.call(&tool, arguments).await.ok();
    assert_eq!(late.status(), "succeeded");
    let direct = server.call("run_pyspark", json!({"code": code})).await.ok();
    assert_eq!(
        late.stable_text(server.home()),
        direct.stable_text(server.home())
    );
    for field in ["status", "target", "columns", "row_count", "truncated"] {
        assert_eq!(late.structured[field], direct.structured[field], "{field}");
    }
    // And what is kept stays the same to the byte, but for the fence's mark.
    let again = server.ended(direct.statement()).await;
    assert_eq!(
        again.stable_text(server.home()),
        direct.stable_text(server.home())
    );
    assert_eq!(
        without_text(&again.structured),
        without_text(&direct.structured)
    );
    server.end().await;
    place.end().await;
}

fn without_text(structured: &Value) -> Value {
    let mut fields = structured.as_object().unwrap().clone();
    fields.remove("text");
    Value::Object(fields)
}

async fn the_client_s_own_cancel_stops_python(place: Place) {
    let server = Server::without_engine(place.setup().sessions(1)).await;
    let file = server.work().join("pid");
    let code = format!(
        "import os\nopen('{0}.new', 'w').write(str(os.getpid()))\nos.rename('{0}.new', '{0}')\nwhile True: pass",
        file.display()
    );
    let call = server.begin("run_pyspark", json!({"code": code})).await;
    wait_until("it runs", PATIENCE, || file.exists()).await;
    let process = std::fs::read_to_string(file).unwrap().parse().unwrap();
    call.cancel().await;
    // There is one session: it is free for this call only when the loop has ended.
    let answer = server.sql("select 5 as n").await;
    assert_eq!(answer.cell(), "5");
    if place.interrupts_python() {
        assert!(answer.took < STOPS_WITHIN, "{:?}", answer.took);
        assert_eq!(server.worker(), process, "it was interrupted, not killed");
    } else {
        // Its session has made room by then; the process sees within a moment that its driver is gone.
        let limit = Duration::from_secs(10);
        wait_until("the process is gone", limit, || has_ended(process)).await;
    }
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn the_client_s_own_cancel_stops_sql(place: Place) {
    let server = Server::without_engine(place.setup().sessions(1)).await;
    server.works().await;
    let call = server.begin("query_sql", json!({"sql": ENDLESS_SQL})).await;
    place.works_on_sql(&server).await;
    call.cancel().await;
    let answer = server.sql("select 5 as n").await;
    assert_eq!(answer.cell(), "5");
    server.works().await;
    server.end().await;
    place.end().await;
}

async fn a_cancelled_statement_that_still_waits_never_runs(place: Place) {
    let server = Server::without_engine(place.setup().sessions(1)).await;
    let (first, _) = server.launch_python("while True: pass", json!({})).await;
    let ran = server.work().join("ran");
    let code = format!("open('{}', 'w').write('')", ran.display());
    let second = server.launch("run_pyspark", json!({"code": code})).await;
    server.reaches(&second, "queued").await;
    for statement in [&second, &first] {
        let answer = server
            .call("cancel_statement", json!({"statement": statement}))
            .await
            .ok();
        assert_eq!(answer.status(), "cancelled");
    }
    server.works().await;
    assert!(!ran.exists());
    server.end().await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_cannot_have_in_memory_is_its_own_error() {
    let server = Server::start().await;
    let answer = server
        .call("run_pyspark", json!({"code": "x = bytearray(10**11)"}))
        .await
        .failed("statement_failed");
    assert_eq!(answer.structured["details"]["error_class"], "MemoryError");
    assert_eq!(answer.structured["details"]["line"], 1);
    server.works().await;
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_descriptors_do_not_break_the_session() {
    let server = Server::start().await;
    let code = "import os\nos.close(1)\nos.close(2)\nprint('nobody reads this')";
    let answer = server.call("run_pyspark", json!({"code": code})).await;
    // As Python has it anywhere: the print fails, and that is the code's own failure.
    let answer = answer.failed("statement_failed");
    assert_eq!(answer.message(), "OSError: [Errno 9] Bad file descriptor");
    let answer = server.python("print('again')").await;
    assert_eq!(answer.data("output"), Some("again\n"));
    server.end().await;
}
