//! `sparklease run`.

use serde_json::json;

use rustix::process::Signal;

use super::User;
use crate::common::{PATIENCE, signal, wait_until};

const FIGURE: &str = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_prints_its_text_and_its_last_value() {
    let user = User::new().await;
    user.write("job.py", "import sys\nprint('printed')\nprint('noted', file=sys.stderr)\nspark.range(4).count() * 2\n");
    let ran = user.run(&["run", "job.py"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(0), "printed\n8\n", "noted\n")
    );
    let table = user.feed(&["run", "-"], "spark.range(2)").await.printed();
    assert_eq!(table, "id\n0\n1\n");
    let document = user
        .feed(&["run", "-", "--json"], "print('x')\n40 + 2")
        .await
        .json();
    let shown = ["output", "value", "figures", "warnings"].map(|name| document[name].clone());
    assert_eq!(shown, [json!("x\n"), json!("42"), json!([]), json!([])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_saved_and_overwrite_nothing() {
    let user = User::new().await;
    user.write("figure-1.png", "mine");
    let ran = user.feed(&["run", "-"], FIGURE).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let second = user.path("figure-2.png");
    assert_eq!(ran.stderr, format!("figure saved: {}\n", second.display()));
    assert_eq!(std::fs::read(user.path("figure-1.png")).unwrap(), b"mine");
    let png = std::fs::read(&second).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n"), "{} bytes", png.len());

    let document = user
        .feed(&["run", "-", "--json", "--output", "new/folder"], FIGURE)
        .await
        .json();
    let elsewhere = user.path("new/folder/figure-1.png");
    assert_eq!(document["figures"], json!([elsewhere]));
    assert!(elsewhere.is_file());
    assert_eq!(user.files(), ["figure-1.png", "figure-2.png", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_prints_the_traceback_after_what_was_printed() {
    let user = User::new().await;
    user.write(
        "fails.py",
        "print('before')\ndef f():\n    raise ValueError('boom')\nf()\n",
    );
    let ran = user.run(&["run", "fails.py"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), "before\n"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .starts_with("error[statement_failed]: ValueError: boom\nTraceback "),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("line 3, in f"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_is_refused_with_its_place() {
    let user = User::new().await;
    user.write("latin.py", b"# ok\nx = '\xe9'\n");
    let said = user
        .run(&["run", "latin.py"])
        .await
        .failed(2, "invalid_argument");
    assert!(
        said.contains("latin.py is not UTF-8 text: byte 0xe9 at offset 10, line 2"),
        "{said}"
    );
    let said = user
        .feed(&["run", "-"], b"\xff")
        .await
        .failed(2, "invalid_argument");
    assert!(said.contains("stdin is not UTF-8 text"), "{said}");
    let said = user.run(&["run", "no.py"]).await.failed(1, "not_found");
    assert!(said.contains("no.py is not there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_cancels_and_leaves_nothing() {
    let user = User::new().await;
    user.write(
        "endless.py",
        "open('begun', 'w').close()\nwhile True: pass\n",
    );
    for (sent, exit) in [(Signal::INT, 130), (Signal::TERM, 130)] {
        let child = user.start(&["run", "endless.py"]);
        let begun = user.path("begun");
        wait_until("the code runs", PATIENCE, || begun.exists()).await;
        signal(child.id().unwrap(), sent);
        // It looks for anything left, too.
        let ran = user.ended(child).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(exit), ""), "{ran:?}");
        assert!(ran.stderr.contains("cancelled"), "{ran:?}");
        std::fs::remove_file(&begun).unwrap();
    }
    assert_eq!(user.files(), ["endless.py"]);
}
