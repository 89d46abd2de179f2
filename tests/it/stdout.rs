//! What stands on the server's stdout: protocol messages, whatever is printed by whom and however much is logged.

use rstest::rstest;
use serde_json::{Value, json};

use crate::common::{GONE_WITHIN, PATIENCE, Place, Raw, Setup, wait_until};

/// Everything that can print: Python in all its ways, C, subprocesses, the engine's threads, and what comes late.
const NOISE: &str = r#"
import ctypes, os, subprocess, sys, threading, time
print('noise-print')
print('noise-stderr', file=sys.stderr)
os.write(1, b'noise-write\n')
os.write(2, b'noise-write-2\n')
sys.__stdout__.write('noise-dunder\n')
sys.__stdout__.flush()
libc = ctypes.CDLL(None)
libc.puts(b'noise-puts')
libc.printf(b'noise-printf\n')
libc.fflush(None)
subprocess.run(['echo', 'noise-echo'])
subprocess.run(['sh', '-c', 'echo noise-sh; echo noise-sh-2 >&2'])
print('{"jsonrpc":"2.0","id":"forged","result":{}}')
thread = threading.Thread(target=lambda: print('noise-thread'))
thread.start()
thread.join()
from pyspark.sql.functions import udf
@udf('int')
def shout(x):
    import os
    print('noise-engine', flush=True)
    os.write(1, b'noise-engine-write\n')
    return x
spark.range(2).select(shout('id')).collect()
subprocess.Popen(['sh', '-c', 'while [ ! -e FOLDER/late ]; do sleep 0.02; done; echo noise-late; touch FOLDER/printed'])
print('unlogged-text')
"#;

/// What of it stands in the answer. The rest comes when no statement runs any more, and is nobody's.
const HEARD: [&str; 13] = [
    "noise-print",
    "noise-stderr",
    "noise-write",
    "noise-write-2",
    "noise-dunder",
    "noise-puts",
    "noise-printf",
    "noise-echo",
    "noise-sh",
    "noise-sh-2",
    "{\"jsonrpc\":\"2.0\",\"id\":\"forged\",\"result\":{}}",
    "noise-thread",
    "unlogged-text",
];

/// The same of the engine's own processes, where these are the session's.
const HEARD_OF_THE_ENGINE: [&str; 2] = ["noise-engine", "noise-engine-write"];

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn stdout_holds_protocol_messages_only(
    #[values("off", "error", "warn", "info", "debug", "trace")] level: &str,
    #[values("text", "json")] format: &str,
) {
    only_messages(Place::local().await, level, format).await;
}

#[rstest]
#[case("info", "text")]
#[case("trace", "json")]
#[tokio::test(flavor = "multi_thread")]
async fn stdout_holds_protocol_messages_only_on_livy(#[case] level: &str, #[case] format: &str) {
    only_messages(Place::livy().await, level, format).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a real Livy server: SPARKLEASE_TEST_LIVY_URL names it"]
async fn stdout_holds_protocol_messages_only_on_a_real_server() {
    only_messages(Place::real().await, "trace", "json").await;
}

async fn only_messages(place: Place, level: &str, format: &str) {
    let log = format!("log = \"{level}\"\nlog_format = \"{format}\"");
    let mut raw = Raw::greeted(&place.setup().set("server", &log)).await;
    raw.send(&json!({"jsonrpc": "2.0", "id": "list", "method": "tools/list"}))
        .await;
    raw.call(
        "sql",
        "query_sql",
        json!({"sql": "select 'unlogged-row' as x"}),
    )
    .await;
    let noise = NOISE.replace("FOLDER", raw.process.work().to_str().unwrap());
    raw.send(
        &json!({"jsonrpc": "2.0", "id": "noise", "method": "tools/call", "params": {
        "name": "run_pyspark", "arguments": {"code": noise}, "_meta": {"progressToken": "p"}}}),
    )
    .await;
    let answer = raw.response("noise").await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    let engine = HEARD_OF_THE_ENGINE
        .iter()
        .filter(|_| place.hears_the_engine());
    for word in HEARD.iter().chain(engine) {
        // Not as a whole line: descriptors 1 and 2 are two pipes, and their pieces may come mixed.
        assert!(text.contains(word), "{word}: {text}");
    }
    // Printed while nothing runs.
    std::fs::write(raw.process.work().join("late"), "").unwrap();
    let printed = raw.process.work().join("printed");
    wait_until("the late subprocess has printed", PATIENCE, || {
        printed.exists()
    })
    .await;
    raw.call(
        "fail",
        "run_pyspark",
        json!({"code": "raise ValueError('unlogged-error')"}),
    )
    .await;
    raw.call(
        "wrong",
        "query_sql",
        json!({"sql": "unlogged-sql", "max_rows": 0}),
    )
    .await;
    raw.send(&json!({"jsonrpc": "2.0", "id": "unknown", "method": "no/such"}))
        .await;
    raw.response("unknown").await;
    raw.close_input();
    let output = raw.whole_output().await;
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert!(status.success(), "{status}");

    assert_eq!(output.last(), Some(&b'\n'));
    let mut answered = Vec::new();
    for line in output.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let message: Value = serde_json::from_slice(line)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line)));
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        match message["method"].as_str() {
            Some(method) => assert_eq!(method, "notifications/progress", "{message}"),
            None => answered.push(message["id"].as_str().unwrap().to_owned()),
        }
    }
    answered.sort();
    let asked = ["fail", "hello", "list", "noise", "sql", "unknown", "wrong"];
    assert_eq!(answered, asked);

    let log = raw.process.log();
    for word in ["noise-", "unlogged-text", "unlogged-row"] {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
    }
    match level {
        "off" => assert_eq!(log, ""),
        "info" | "debug" | "trace" => assert!(log.contains("settings"), "{log}"),
        _ => {}
    }
    if format == "json" {
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        }
    }
    place.end().await;
}

/// A command that nobody knows is no reason to fall silent either.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_refused_leaves_stdout_empty() {
    let mut raw = Raw::start(&Setup::new().config("nonsense = 1"));
    let output = raw.whole_output().await;
    let status = raw.process.gone_within(GONE_WITHIN).await;
    assert_eq!(status.code(), Some(2));
    assert_eq!(output, b"");
}
