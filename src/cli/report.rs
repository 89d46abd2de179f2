//! What a statement gave, printed: rows in the wished format, figures as files, warnings and truncation beside it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::shot::Shot;
use super::sql::{MAX_ROWS, RowFormat};
use crate::model::{Batch, Code, Error, Image, Page, Result, StatementView};

/// A folder with more figures than this has another problem.
const MAX_FIGURES: u32 = 100_000;

/// A query's rows.
///
/// # Errors
/// The statement's own.
pub(super) fn rows(shot: &Shot<'_>, view: &StatementView, format: RowFormat) -> Result<ExitCode> {
    let gate = shot.app.gate();
    warnings(shot, view)?;
    if let Some(error) = &view.error {
        return Err(error.clone());
    }
    let page = view
        .page
        .as_ref()
        .filter(|page| !page.batch.columns.is_empty());
    if format == RowFormat::Json {
        let empty = Batch::default();
        let batch = page.map_or(&empty, |page| &page.batch);
        let mut fields = table_fields(shot, batch);
        fields.insert("row_count".to_owned(), json!(batch.rows.len()));
        fields.insert(
            "truncated".to_owned(),
            json!(page.is_some_and(|p| p.more_unkept)),
        );
        facts(&mut fields, view);
        shot.output.exact(&gate.document(&Value::Object(fields)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(page) = page {
        print(shot, &page.batch, format)?;
        truncation(shot, view, page)?;
    }
    if shot.output.on_terminal() {
        let took = format!("in {:.1} s", view.elapsed.as_secs_f64());
        shot.output
            .note(&match page.map(|page| page.batch.rows.len()) {
                Some(1) => format!("1 row {took}"),
                Some(rows) => format!("{rows} rows {took}"),
                None => format!("done {took}"),
            })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a write did.
///
/// # Errors
/// The statement's own.
pub(super) fn written(shot: &Shot<'_>, view: &StatementView) -> Result<ExitCode> {
    warnings(shot, view)?;
    if let Some(error) = &view.error {
        return Err(error.clone());
    }
    let Some(written) = &view.written else {
        return Err(Error::internal("the write does not say what it wrote"));
    };
    if shot.output.is_json() {
        let mut fields = Map::new();
        let told = json!({
            "table": written.table.to_string(),
            "rows": written.rows,
            "mode": written.mode,
            "format": written.format,
            "version": written.version,
            "location": written.location,
            "created": written.created,
        });
        fields.insert("written".to_owned(), told);
        facts(&mut fields, view);
        shot.output
            .exact(&shot.app.gate().document(&Value::Object(fields)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let how = match written.created {
        true => "new table",
        false => written.mode.as_word(),
    };
    let version = match written.version {
        Some(version) => format!(", version {version}"),
        None => String::new(),
    };
    shot.output.text(&format!(
        "{} rows written to {} ({how}{version})\n",
        written.rows, written.table
    ))?;
    let location = written.location.as_ref();
    if let Some(location) = location.filter(|_| shot.output.on_terminal()) {
        shot.output.note(&format!("its files are in {location}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What Python gave besides its output: tables, the last value, figures.
///
/// # Errors
/// The statement's own; `invalid_argument` where figures cannot be saved.
pub(super) fn python(
    shot: &Shot<'_>,
    view: &StatementView,
    format: RowFormat,
    folder: &Path,
) -> Result<ExitCode> {
    let gate = shot.app.gate();
    let figures = figures(shot, &view.images, folder)?;
    warnings(shot, view)?;
    if shot.output.is_json() && view.error.is_none() {
        let first = view
            .page
            .as_ref()
            .map(|page| (&page.batch, page.more_unkept));
        let further = view.further.iter().map(|batch| (batch, batch.truncated));
        let tables: Vec<Value> = first
            .into_iter()
            .chain(further)
            .map(|(batch, truncated)| {
                let mut fields = table_fields(shot, batch);
                fields.insert("truncated".to_owned(), json!(truncated));
                Value::Object(fields)
            })
            .collect();
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("output", json!(view.output));
        put("output_dropped_bytes", json!(view.output_dropped));
        put("value", json!(view.value));
        put("tables", tables.into());
        put("figures", json!(figures));
        facts(&mut fields, view);
        shot.output.exact(&gate.document(&Value::Object(fields)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(page) = &view.page {
        print(shot, &page.batch, format)?;
        truncation(shot, view, page)?;
    }
    for batch in &view.further {
        shot.output.text("\n")?;
        print(shot, batch, format)?;
        if batch.truncated {
            shot.output.warning(&format!(
                "only the first {} rows of this table are shown; write it to a file for all",
                batch.rows.len()
            ))?;
        }
    }
    if let Some(value) = &view.value {
        shot.output.text(value)?;
    }
    for figure in &figures {
        shot.output
            .note(&format!("figure saved: {}", figure.display()))?;
    }
    match &view.error {
        Some(error) => Err(error.clone()),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn table_fields(shot: &Shot<'_>, batch: &Batch) -> Map<String, Value> {
    shot.app
        .gate()
        .rows(batch, shot.output.on_terminal())
        .fields()
}

fn facts(fields: &mut Map<String, Value>, view: &StatementView) {
    fields.insert("warnings".to_owned(), json!(view.warnings));
    fields.insert("target".to_owned(), json!(view.target));
    fields.insert("engine".to_owned(), json!(view.engine));
    let elapsed = (view.elapsed.as_secs_f64() * 1000.0).round() / 1000.0;
    fields.insert("elapsed_s".to_owned(), json!(elapsed));
}

fn print(shot: &Shot<'_>, batch: &Batch, format: RowFormat) -> Result<()> {
    let rows = shot.app.gate().rows(batch, shot.output.on_terminal());
    match format {
        RowFormat::Table => shot.output.rows(&rows),
        RowFormat::Csv => shot.output.exact(&rows.csv()),
        RowFormat::Markdown => shot.output.exact(&rows.markdown()),
        RowFormat::Json => shot
            .output
            .exact(&shot.app.gate().document(&Value::Object(rows.fields()))),
    }
}

fn warnings(shot: &Shot<'_>, view: &StatementView) -> Result<()> {
    if shot.output.is_json() && view.error.is_none() {
        return Ok(());
    }
    view.warnings
        .iter()
        .try_for_each(|warning| shot.output.warning(warning))
}

/// Rows that are missing are never missed silently.
fn truncation(shot: &Shot<'_>, view: &StatementView, page: &Page) -> Result<()> {
    if !page.more_unkept {
        return Ok(());
    }
    let shown = page.batch.rows.len();
    let more = if shown as u64 >= shot.rows {
        format!("print more with `--max-rows N` (up to {MAX_ROWS})")
    } else {
        format!(
            "they are too large: raise `targets.{}.limits.bytes` in the configuration",
            view.target
        )
    };
    shot.output.warning(&format!(
        "only the first {shown} rows are shown, there are more; {more}, or aggregate in the statement"
    ))
}

/// Saves figures under the next free numbers.
fn figures(shot: &Shot<'_>, images: &[Image], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut saved = Vec::new();
    for image in images {
        match shot.app.gate().image(image) {
            Some(bytes) => saved.push(save_figure(folder, bytes)?),
            None => shot
                .output
                .warning("a figure is left out: its bytes hold a known secret")?,
        }
    }
    Ok(saved)
}

/// Writes `figure-N.png` with the first N that is free. Nothing is ever overwritten.
///
/// # Errors
/// `invalid_argument` where the folder cannot be made or written.
pub(super) fn save_figure(folder: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let wrong = |error: std::io::Error| {
        Error::new(
            Code::InvalidArgument,
            format!("a figure cannot be saved in {}: {error}", folder.display()),
        )
        .hint("Name a folder that you may write: `--output FOLDER`.")
        .source_error(error)
    };
    std::fs::create_dir_all(folder).map_err(wrong)?;
    for number in 1..=MAX_FIGURES {
        let path = folder.join(format!("figure-{number}.png"));
        match std::fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(bytes).map_err(wrong)?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    Err(wrong(std::io::Error::from(ErrorKind::AlreadyExists)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_takes_the_next_free_number_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("new/folder");
        assert_eq!(
            save_figure(&inside, b"1").unwrap(),
            inside.join("figure-1.png")
        );
        assert_eq!(
            save_figure(&inside, b"2").unwrap(),
            inside.join("figure-2.png")
        );
        assert_eq!(std::fs::read(inside.join("figure-1.png")).unwrap(), b"1");
        let error = save_figure(&inside.join("figure-1.png"), b"3").unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
}
