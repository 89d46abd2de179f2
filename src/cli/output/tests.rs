//! What is written where, and that no secret gets through.

use super::testing::{Kind, output};
use super::*;
use crate::model::Details;

const TERMINAL: Kind = Kind {
    terminal: true,
    json: false,
    quiet: false,
};

fn rows() -> Vec<Vec<String>> {
    vec![
        vec!["a".into(), "clearly-fake-secret".into()],
        vec!["longer".into(), "tab\there\x1b[31m".into()],
    ]
}

#[test]
fn a_table_is_aligned_on_a_terminal() {
    let (output, stdout, _) = output(TERMINAL);
    output.table(&["name", "value"], &rows()).unwrap();
    insta::assert_snapshot!(stdout.take(), @r"
    NAME    VALUE
    a       «redacted»
    longer  tab	here\u{1b}[31m
    ");
}

#[test]
fn a_table_is_tab_separated_in_a_pipe() {
    let (output, stdout, _) = output(Kind::default());
    output.table(&["name", "value"], &rows()).unwrap();
    assert_eq!(
        stdout.take(),
        "name\tvalue\na\t«redacted»\nlonger\ttab\\there\x1b[31m\n"
    );
}

#[test]
fn a_secret_leaves_by_no_way() {
    let secret = "x clearly-fake-secret y";
    for kind in [
        Kind::default(),
        TERMINAL,
        Kind {
            json: true,
            ..Kind::default()
        },
    ] {
        let (output, stdout, stderr) = output(kind);
        output.text(secret).unwrap();
        output.note(secret).unwrap();
        output.json(&[secret]).unwrap();
        output.table(&[], &[vec![secret.to_owned()]]).unwrap();
        output
            .error(&Error::new(Code::NotFound, secret).hint(secret))
            .unwrap();
        let usage = clap::Error::raw(clap::error::ErrorKind::UnknownArgument, secret);
        output.usage(&usage).unwrap();
        for written in [stdout.take(), stderr.take()] {
            assert!(written.contains("«redacted»"));
            assert!(!written.contains("clearly-fake-secret"), "{written}");
        }
    }
}

#[test]
fn escapes_hide_no_secret() {
    let kind = Kind {
        json: true,
        ..Kind::default()
    };
    let (mut output, stdout, _) = output(kind);
    output.redact = Arc::new(|text| text.replace("fake\t\"secret", "«redacted»"));
    output.json(&["a fake\t\"secret"]).unwrap();
    output
        .table(&[], &[vec!["a fake\t\"secret".to_owned()]])
        .unwrap();
    assert_eq!(stdout.take(), "[\n  \"a «redacted»\"\n]\n\na «redacted»\n");
}

#[test]
fn an_error_ends_with_its_hint_and_shows_the_users_traceback() {
    let (output, _, stderr) = output(Kind::default());
    let error = Error::new(Code::StatementFailed, "ZeroDivisionError: division by zero")
        .hint("Correct the code and run it again.")
        .details(Details {
            traceback: Some("line 1: 1/0\n".to_owned()),
            ..Details::default()
        });
    output.error(&error).unwrap();
    insta::assert_snapshot!(stderr.take(), @r"
    error[statement_failed]: ZeroDivisionError: division by zero
    line 1: 1/0
    hint: Correct the code and run it again.
    ");
}

#[test]
fn an_error_in_json_has_the_fields_that_tools_see() {
    let (output, stdout, stderr) = output(Kind {
        json: true,
        ..Kind::default()
    });
    let error = Error::new(Code::CapacityUnavailable, "no room")
        .retry(Retry::After(Duration::from_millis(1500)));
    output.error(&error).unwrap();
    assert_eq!(stdout.take(), "");
    assert_eq!(
        stderr.take(),
        "{\"code\":\"capacity_unavailable\",\"message\":\"no room\",\"hint\":\"\",\"retryable\":true,\"retry_after_s\":2}\n"
    );
}

#[test]
fn quiet_drops_notes_and_nothing_else() {
    let (output, stdout, stderr) = output(Kind {
        quiet: true,
        ..Kind::default()
    });
    output.note("note").unwrap();
    output.text("answer").unwrap();
    output.error(&Error::new(Code::NotFound, "gone")).unwrap();
    assert_eq!(stdout.take(), "answer\n");
    assert_eq!(stderr.take(), "error[not_found]: gone\n");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::new(Closed, false);
    sink.write("a").unwrap();
    sink.write("b").unwrap();
}
