//! A secret of the server's environment comes back in no form and by no way out, and is not in the worker's.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;
use uuid::Uuid;

use crate::common::{Answer, Place, Server, Setup, on};

on!([local livy real]: a_secret_of_the_environment_never_comes_back);

/// Its name says what it is.
const VARIABLE: &str = "IT_SERVICE_TOKEN";

/// Random, and of an alphabet in which base64, URLs and JSON all differ from plain.
pub(crate) fn secret() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("Zq7+{random}/Kw9")
}

/// Python that puts the secret together from numbers: in this form no text that is sent holds it.
pub(crate) fn assembled(secret: &str) -> String {
    let numbers: Vec<String> = secret.bytes().map(|b| (b ^ 0x55).to_string()).collect();
    format!(
        "s = bytes(n ^ 0x55 for n in [{}]).decode()\n",
        numbers.join(", ")
    )
}

/// What of a text would give the secret away, by the name of its disguise.
pub(crate) fn shown(secret: &str, text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut look = |name, form: &str| {
        if text.contains(form) {
            found.insert(name);
        }
    };
    look("plain", secret);
    let reversed: String = secret.chars().rev().collect();
    look("reversed", &reversed);
    let hex = secret.bytes().fold(String::new(), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    });
    look("hex", &hex);
    look("upper hex", &hex.to_uppercase());
    for (name, engine) in [("base64", STANDARD), ("URL-safe base64", URL_SAFE)] {
        for before in 0..3 {
            let shifted = format!("{}{secret}", "x".repeat(before));
            let encoded = engine.encode(&shifted);
            // Only the characters that depend on nothing but the secret.
            let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
            look(name, &encoded[first..last]);
        }
    }
    let letters = |text: &str| -> String {
        let plain = text.replace("\\n", "\n");
        plain.chars().filter(char::is_ascii_alphanumeric).collect()
    };
    // 32 of its characters, whatever stands between them.
    let body = &secret[4..36];
    let all = letters(text);
    if all.contains(body) {
        found.insert("separated");
    }
    if all.contains(&body.chars().rev().collect::<String>()) {
        found.insert("separated and reversed");
    }
    found
}

pub(crate) fn whole(answer: &Answer) -> String {
    format!("{}\n{}", answer.text, answer.structured)
}

#[test]
fn the_search_of_this_test_finds_each_disguise() {
    let secret = secret();
    let lines: Vec<String> = secret.chars().map(String::from).collect();
    let reversed: String = secret.chars().rev().collect();
    for (name, text) in [
        ("plain", format!("a {secret} b")),
        ("reversed", format!("a {reversed} b")),
        ("base64", STANDARD.encode(format!("1 {secret} 2"))),
        ("base64", STANDARD.encode(format!("12 {secret} 2"))),
        (
            "URL-safe base64",
            URL_SAFE.encode(format!("123 {secret} 2")),
        ),
        ("separated", lines.join("\n")),
        ("separated", lines.join("\\n")),
        ("separated", lines.join(" - ")),
    ] {
        assert!(shown(&secret, &text).contains(name), "{name}: {text}");
    }
    assert_eq!(shown(&secret, "nothing of it"), BTreeSet::new());
}

async fn a_secret_of_the_environment_never_comes_back(place: Place) {
    let secret = secret();
    let setup = place
        .setup()
        .variable(VARIABLE, &secret)
        .set("server", "log = \"trace\"");
    let server = Server::without_engine(setup).await;
    let s = assembled(&secret);
    let ways = [
        ("print", "print('a', s, 'b')"),
        (
            "print in pieces",
            "print('a', s[:9], sep='', end='', flush=True)\nprint(s[9:])",
        ),
        ("stderr", "import sys\nprint(s, file=sys.stderr)"),
        ("descriptor", "import os\nos.write(1, s.encode())"),
        (
            "subprocess",
            "import subprocess\nsubprocess.run(['echo', s])",
        ),
        ("reversed", "print(s[::-1])"),
        ("hex", "print(s.encode().hex())"),
        ("upper hex", "print(s.encode().hex().upper())"),
        (
            "base64",
            "import base64\nprint(base64.b64encode(s.encode()).decode())",
        ),
        (
            "base64, second alignment",
            "import base64\nprint(base64.b64encode(b'x' + s.encode()).decode())",
        ),
        (
            "base64, third alignment",
            "import base64\nprint(base64.b64encode(b'xy' + s.encode()).decode())",
        ),
        (
            "URL-safe base64",
            "import base64\nprint(base64.urlsafe_b64encode(s.encode()).decode())",
        ),
        ("one character a line", "for c in s: print(c)"),
        ("spaced", "print(' '.join(s))"),
        (
            "URL",
            "import urllib.parse\nprint(urllib.parse.quote(s, safe=''))",
        ),
        (
            "JSON",
            "import json\nprint(json.dumps(json.dumps({'k': s})))",
        ),
        ("value", "s"),
        ("value in a structure", "{'k': [s, s[::-1]]}"),
        ("bytes", "s.encode()"),
        ("row", "spark.createDataFrame([(s, 1)], 'a string, b int')"),
        (
            "binary row",
            "spark.createDataFrame([(s.encode(),)], 'a binary')",
        ),
        (
            "nested row",
            "spark.createDataFrame([([s],)], 'a array<string>')",
        ),
        ("column's name", "import pandas\npandas.DataFrame({s: [1]})"),
        (
            "a character in each row",
            "spark.createDataFrame([(c,) for c in s], 'a string')",
        ),
        ("warning", "import warnings\nwarnings.warn(s)"),
        ("error", "raise ValueError(s)"),
        ("error with disguise", "raise ValueError(s.encode().hex())"),
        (
            "error's class",
            "raise type('E' + s, (Exception,), {})('x')",
        ),
        (
            "chained error",
            "try:\n    raise KeyError(s)\nexcept KeyError as e:\n    raise ValueError('x') from e",
        ),
    ];
    let mut leaks = Vec::new();
    for (way, code) in ways {
        let answer = server
            .call("run_pyspark", json!({"code": format!("{s}{code}")}))
            .await;
        let text = whole(&answer);
        let forms = shown(&secret, &text);
        if !forms.is_empty() || !text.contains("«redacted:") {
            leaks.push(format!("{way}: {forms:?}\n{text}"));
        }
    }
    // Here the caller's own text holds it, and it must not echo.
    let named: Vec<String> = secret
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(String::from)
        .collect();
    for (way, tool, arguments) in [
        (
            "SQL literal",
            "query_sql",
            json!({"sql": format!("select '{secret}' as a")}),
        ),
        (
            "SQL column",
            "query_sql",
            json!({"sql": format!("select 1 as `{secret}`")}),
        ),
        (
            "SQL error",
            "query_sql",
            json!({"sql": format!("select * from `{secret}`")}),
        ),
        (
            "refused SQL",
            "query_sql",
            json!({"sql": format!("drop table `{secret}`")}),
        ),
        (
            "parameter",
            "query_sql",
            json!({"sql": "select :p as a", "params": {"p": secret}}),
        ),
        (
            "traceback's line",
            "run_pyspark",
            json!({"code": format!("1 / 0, '{secret}'")}),
        ),
        (
            "target",
            "query_sql",
            json!({"sql": "select 1", "target": secret}),
        ),
        (
            "argument",
            "query_sql",
            json!({"sql": "select 1", secret.as_str(): 1}),
        ),
        (
            "wrong number",
            "query_sql",
            json!({"sql": "select 1", "max_rows": secret}),
        ),
        (
            "session",
            "run_pyspark",
            json!({"code": "1", "session": named.concat()}),
        ),
        ("statement", "get_statement", json!({"statement": secret})),
        (
            "cursor",
            "get_statement",
            json!({"statement": "st_1", "cursor": secret}),
        ),
        (
            "file",
            "query_sql",
            json!({"sql": "select 1", "files": {"v": format!("{secret}.csv")}}),
        ),
        (
            "path",
            "run_sql",
            json!({"sql": format!("select * from csv.`/nowhere/{secret}*.csv`")}),
        ),
    ] {
        let answer = server.call(tool, arguments).await;
        let text = whole(&answer);
        let forms = shown(&secret, &text);
        if !forms.is_empty() {
            leaks.push(format!("{way}: {forms:?}\n{text}"));
        }
    }
    let refused = server.refused(&secret, json!({})).await;
    if !shown(&secret, &refused).is_empty() {
        leaks.push(format!("unknown tool: {refused}"));
    }
    let progress = format!("{:?}", server.progress());
    let log = server.log();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "it logs a lot: {log}"
    );
    for (place, text) in [("progress", &progress), ("log", &log)] {
        let forms = shown(&secret, text);
        if !forms.is_empty() {
            leaks.push(format!("{place}: {forms:?}\n{text}"));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n\n"));
    server.end().await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_shown_while_a_statement_runs() {
    let secret = secret();
    let server = Server::with(Setup::new().variable(VARIABLE, &secret)).await;
    let code = format!(
        "{}import time\nfor c in s:\n    print(c, end='', flush=True)\n    time.sleep(0.01)\n\
         open('all', 'w').close()\nwhile True: time.sleep(0.01)",
        assembled(&secret)
    );
    let statement = server.launch("run_pyspark", json!({"code": code})).await;
    let all = server.work().join("all");
    let look = json!({"statement": statement, "wait_s": 0});
    loop {
        let last = all.exists();
        let answer = server.call("get_statement", look.clone()).await.ok();
        let output = answer.data("output").unwrap_or_default().trim_end();
        let characters = secret.chars().count();
        // A few characters tell nothing; see the gate.
        let told = (5..=characters).any(|n| output.contains(&secret[..n]));
        assert!(!told, "{}", answer.text);
        if last {
            break;
        }
    }
    server
        .call("cancel_statement", json!({"statement": statement}))
        .await
        .ok();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_in_the_worker_s_environment() {
    let secret = secret();
    let server = Server::with(Setup::new().variable(VARIABLE, &secret)).await;
    // Asked of the worker itself, since an answer would be redacted.
    let code = format!(
        "{}import os\nhere = open('/proc/self/environ').read() + str(dict(os.environ))\n\
         (s in here, '{VARIABLE}' in here, 'PATH' in here)",
        assembled(&secret)
    );
    let answer = server.python(&code).await;
    assert_eq!(answer.data("value"), Some("(False, False, True)\n"));
    server.end().await;
}
