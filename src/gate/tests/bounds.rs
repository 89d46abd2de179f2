//! No answer is larger than its limit, whatever the data.

use super::*;

fn text_of(length: usize, kind: u8) -> String {
    let piece = match kind % 6 {
        0 => "x",
        1 => "\"",
        2 => "\u{1}",
        3 => "漢字\n",
        4 => FAKE,
        _ => "word \\ and, more\n",
    };
    piece.repeat(length.div_ceil(piece.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_larger_than_its_limit(
        answer_bytes in 0usize..40_000,
        structured_copy: bool,
        cell_chars in 0usize..2000,
        shape in (prop_oneof![1usize..5, 100usize..3000], 0usize..120, 0usize..3000),
        lengths in (0usize..60_000, 0usize..60_000, 0usize..20, 0usize..3000),
        kinds: [u8; 4],
        further in 0usize..12,
        format in 0usize..3,
        failed: bool,
    ) {
        let (columns, rows, cell) = shape;
        let (rows, cell) = if columns > 10 {
            (rows.min(2), cell % 200)
        } else {
            (rows, cell)
        };
        let (output, value, warnings, warning) = lengths;
        let mut view = view(if failed { StatementState::Failed } else { StatementState::Succeeded });
        let names: Vec<String> = (0..columns).map(|i| format!("{}{i}", text_of(cell % 40, kinds[0]))).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "string")).collect();
        let rows: Vec<Vec<Value>> = (0..rows)
            .map(|_| vec![json!(text_of(cell, kinds[1])); columns])
            .collect();
        let batch = batch(&names, rows);
        view.further = vec![batch.clone(); if columns > 10 { 1 } else { further }];
        view.page = Some(page(batch));
        view.output = text_of(output, kinds[2]);
        view.value = Some(text_of(value, kinds[3]));
        view.warnings = vec![text_of(warning, kinds[0]); warnings];
        if failed {
            view.error = Some(Error::new(Code::StatementFailed, text_of(output, kinds[0]))
                .hint(text_of(value, kinds[1]))
                .details(Details { traceback: Some(text_of(value, kinds[3])), ..Details::default() }));
        }
        let limits = Limits { answer_bytes, cell_chars, structured_copy, ..Limits::default() };
        let ask = ask([Format::Csv, Format::Markdown, Format::Json][format]);
        let answer = gate(limits).statement(&view, &ask);
        prop_assert!(answer.bytes() <= limits.bytes(), "{} > {}\n{}", answer.bytes(), limits.bytes(), answer.text());
        if !failed && !view.page.as_ref().unwrap().batch.rows.is_empty() {
            prop_assert!(answer.structured()["row_count"].as_u64().unwrap() > 0, "{}", answer.text());
        }
    }
}

#[test]
fn monsters_fit_too_and_paging_gets_on() {
    let gate = gate(Limits::default());
    for (columns, cell) in [(1, 1_000_000), (10_000, 10), (10_000, 1000), (300, 5000)] {
        let mut view = view(StatementState::Succeeded);
        let names: Vec<String> = (0..columns).map(|i| format!("column_{i}")).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "string")).collect();
        view.page = Some(page(batch(
            &names,
            vec![vec![json!("c".repeat(cell)); columns]; 2],
        )));
        for format in [Format::Csv, Format::Markdown, Format::Json] {
            let answer = gate.statement(&view, &ask(format));
            assert!(answer.bytes() <= 24 * 1024);
            assert!(
                answer.structured()["row_count"].as_u64() > Some(0),
                "{}",
                answer.text()
            );
        }
    }
}
