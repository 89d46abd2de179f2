//! What a statement gave, kept for its owner: raw, owner-only, bounded. Rows spill into an unnamed file that dies
//! with the process.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use tempfile::SpooledTempFile;

use crate::model::{Batch, Cell, Column, Error, Image, Page, Result, TablesPage, Written};

/// Rows that stay in memory before they spill, in bytes: an ordinary first page.
const SPILL_AFTER: usize = 64 * 1024;
/// A place in the file is remembered for every so many rows.
const ROWS_PER_MARK: u64 = 256;
/// The beginning and the end of printed output that are kept, in bytes each: what says what happened is at the
/// beginning, what went wrong at the end.
const OUTPUT_HEAD: usize = 64 * 1024;
const OUTPUT_TAIL: usize = 64 * 1024;
/// Results after the first one (`display(df)`) are kept up to this many rows each, and this many of them.
const FURTHER_ROWS: usize = 100;
const FURTHER_TABLES: usize = 8;
/// Figures kept of one statement, in bytes all together.
const IMAGE_BYTES: usize = 16 * 1024 * 1024;
/// Warnings kept of one statement, and bytes of each.
const WARNINGS: usize = 50;
const WARNING_BYTES: usize = 2_000;

/// All that one statement gave.
#[derive(Debug)]
pub(super) struct Results {
    rows: Option<Rows>,
    /// The batches of the first result have come to an end.
    closed: bool,
    further: Vec<Batch>,
    output: Output,
    pub(super) value: Option<String>,
    images: Vec<Image>,
    warnings: Vec<String>,
    pub(super) written: Option<Written>,
    pub(super) tables: Option<TablesPage>,
}

impl Results {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            rows: None,
            closed: false,
            further: Vec::new(),
            output: Output::default(),
            value: None,
            images: Vec::new(),
            warnings: Vec::new(),
            written: None,
            tables: None,
        }
    }

    /// Forgets what a run gave whose session was lost; the next one gives all of it anew.
    pub(super) fn begin_again(&mut self, why: String) {
        *self = Self::new();
        self.warning(why);
    }

    /// Adds rows. SQL sends one result in many batches, Python many results in one batch each.
    ///
    /// # Errors
    /// `internal` when the spill file cannot be written (a full disk).
    pub(super) fn table(&mut self, batch: Batch, folder: &Path, one_result: bool) -> Result<()> {
        match &mut self.rows {
            None => {
                let mut rows = Rows::new(batch.columns.clone(), folder);
                rows.push(&batch)?;
                self.rows = Some(rows);
                self.closed = !one_result;
            }
            Some(rows) if !self.closed => rows.push(&batch)?,
            Some(_) if self.further.len() < FURTHER_TABLES => {
                let mut batch = batch;
                if batch.rows.len() > FURTHER_ROWS {
                    batch.rows.truncate(FURTHER_ROWS);
                    batch.truncated = true;
                }
                self.further.push(batch);
            }
            Some(_) => self.warning(format!(
                "only the first {} tables are kept of one statement",
                FURTHER_TABLES + 1
            )),
        }
        Ok(())
    }

    /// Adds printed output.
    pub(super) fn text(&mut self, text: &str) {
        self.output.push(text);
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, mut text: String) {
        text.truncate(floor(&text, WARNING_BYTES));
        if self.warnings.len() < WARNINGS && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Adds a figure.
    pub(super) fn image(&mut self, image: Image) {
        let kept: usize = self.images.iter().map(|i| i.bytes.len()).sum();
        if kept + image.bytes.len() > IMAGE_BYTES {
            self.warning(format!(
                "a figure is left out: the figures of one statement may have {} MiB together",
                IMAGE_BYTES / 1024 / 1024
            ));
        } else {
            self.images.push(image);
        }
    }

    /// Some of the first result's rows.
    ///
    /// # Errors
    /// `internal` when the spill file cannot be read.
    pub(super) fn page(&mut self, offset: u64, count: u64) -> Result<Option<Page>> {
        self.rows
            .as_mut()
            .map(|rows| rows.page(offset, count))
            .transpose()
    }

    pub(super) fn further(&self) -> Vec<Batch> {
        self.further.clone()
    }

    pub(super) fn images(&self) -> Vec<Image> {
        self.images.clone()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The output, and how many bytes of its middle were dropped.
    pub(super) fn output(&self) -> (String, u64) {
        self.output.text()
    }

    /// About what it holds.
    pub(super) fn weight(&self) -> Weight {
        let images: usize = self.images.iter().map(|i| i.bytes.len()).sum();
        let warnings: usize = self.warnings.iter().map(String::len).sum();
        let further: usize = self.further.iter().map(size).sum();
        let value = self.value.as_ref().map_or(0, String::len);
        let mut weight = self
            .rows
            .as_ref()
            .map_or_else(Weight::default, Rows::weight);
        weight.memory +=
            images + warnings + further + value + self.output.head.len() + self.output.tail.len();
        weight
    }
}

/// What kept results hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes.
    pub(super) memory: usize,
    /// Bytes of unnamed files.
    pub(super) disk: usize,
    /// Open descriptors.
    pub(super) files: usize,
}

impl Weight {
    pub(super) fn add(&mut self, other: Self) {
        self.memory += other.memory;
        self.disk += other.disk;
        self.files += other.files;
    }

    pub(super) fn take(&mut self, other: Self) {
        self.memory -= other.memory;
        self.disk -= other.disk;
        self.files -= other.files;
    }

    pub(super) fn within(self, most: Self) -> bool {
        self.memory <= most.memory && self.disk <= most.disk && self.files <= most.files
    }
}

/// About the bytes of a batch that is kept as values.
fn size(batch: &Batch) -> usize {
    serde_json::to_string(&batch.rows).map_or(0, |text| 2 * text.len())
}

/// Rows as JSON lines, in memory or in an unnamed file.
#[derive(Debug)]
struct Rows {
    columns: Arc<[Column]>,
    file: SpooledTempFile,
    written: u64,
    count: u64,
    marks: Vec<u64>,
    truncated: bool,
}

impl Rows {
    fn new(columns: Arc<[Column]>, folder: &Path) -> Self {
        Self {
            columns,
            file: tempfile::spooled_tempfile_in(SPILL_AFTER, folder),
            written: 0,
            count: 0,
            marks: Vec::new(),
            truncated: false,
        }
    }

    fn push(&mut self, batch: &Batch) -> Result<()> {
        self.truncated |= batch.truncated;
        let mut lines = Vec::new();
        for row in &batch.rows {
            if self.count.is_multiple_of(ROWS_PER_MARK) {
                self.marks.push(self.written + lines.len() as u64);
            }
            serde_json::to_writer(&mut lines, row)
                .map_err(|e| Error::internal("a row cannot be kept").source_error(e))?;
            lines.push(b'\n');
            self.count += 1;
        }
        self.file.seek(SeekFrom::End(0)).map_err(unkept)?;
        self.file.write_all(&lines).map_err(unkept)?;
        self.written += lines.len() as u64;
        Ok(())
    }

    fn page(&mut self, offset: u64, count: u64) -> Result<Page> {
        let offset = offset.min(self.count);
        let until = offset.saturating_add(count).min(self.count);
        let mark = |row: u64| usize::try_from(row / ROWS_PER_MARK).unwrap_or(usize::MAX);
        let start = self
            .marks
            .get(mark(offset))
            .copied()
            .unwrap_or(self.written);
        let end = usize::try_from(until.div_ceil(ROWS_PER_MARK))
            .ok()
            .and_then(|next| self.marks.get(next).copied())
            .unwrap_or(self.written);
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(start)).map_err(unkept)?;
        (&mut self.file)
            .take(end.saturating_sub(start))
            .read_to_string(&mut text)
            .map_err(unkept)?;
        let skip = usize::try_from(offset % ROWS_PER_MARK).unwrap_or(0);
        let take = usize::try_from(until - offset).unwrap_or(usize::MAX);
        let rows = text
            .lines()
            .skip(skip)
            .take(take)
            .map(serde_json::from_str::<Vec<Cell>>)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| Error::internal("kept rows cannot be read back").source_error(e))?;
        Ok(Page {
            offset,
            batch: Batch {
                columns: self.columns.clone(),
                rows,
                truncated: self.truncated,
            },
            more_kept: until < self.count,
            more_unkept: self.truncated,
            kept_rows: self.count,
        })
    }

    fn weight(&self) -> Weight {
        let bytes = usize::try_from(self.written).unwrap_or(usize::MAX);
        let marks = self.marks.len() * size_of::<u64>();
        if self.file.is_rolled() {
            Weight {
                memory: marks,
                disk: bytes,
                files: 1,
            }
        } else {
            Weight {
                memory: marks + bytes,
                ..Weight::default()
            }
        }
    }
}

fn unkept(e: std::io::Error) -> Error {
    Error::internal(format!("the result's rows cannot be kept on disk: {e}"))
        .hint("Make room on the disk of SPARKLEASE_DATA_DIR, then call the tool again.")
        .source_error(e)
}

/// Printed output: its beginning and its end.
#[derive(Debug, Default)]
struct Output {
    head: String,
    tail: String,
    dropped: u64,
}

impl Output {
    fn push(&mut self, text: &str) {
        let room = OUTPUT_HEAD.saturating_sub(self.head.len());
        let cut = floor(text, room);
        let (first, rest) = text.split_at(cut);
        if self.tail.is_empty() && self.dropped == 0 {
            self.head.push_str(first);
            self.tail.push_str(rest);
        } else {
            self.tail.push_str(text);
        }
        if self.tail.len() > 2 * OUTPUT_TAIL {
            let cut = floor(&self.tail, self.tail.len() - OUTPUT_TAIL);
            self.dropped += cut as u64;
            self.tail.drain(..cut);
        }
    }

    fn text(&self) -> (String, u64) {
        let over = self.tail.len().saturating_sub(OUTPUT_TAIL);
        let cut = floor(&self.tail, over);
        let tail = self.tail.get(cut..).unwrap_or_default();
        let dropped = self.dropped + cut as u64;
        if dropped == 0 {
            return (format!("{}{tail}", self.head), 0);
        }
        let note = format!("\n… {dropped} bytes of output left out …\n");
        (format!("{}{note}{tail}", self.head), dropped)
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn batch(from: u64, count: u64) -> Batch {
        Batch {
            columns: [Column::new("n", "bigint"), Column::new("t", "string")].into(),
            rows: (from..from + count)
                .map(|n| vec![json!(n), json!(format!("text {n} é"))])
                .collect(),
            truncated: false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 64 / 256, ..ProptestConfig::default() })]
        #[test]
        fn doubles_come_back_bit_by_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut results = Results::new();
            let columns = [Column::new("d", "double")].into();
            let rows = vec![vec![json!(value)]];
            results.table(Batch { columns, rows, truncated: false }, &std::env::temp_dir(), true).unwrap();
            let page = results.page(0, 1).unwrap().unwrap();
            prop_assert_eq!(page.batch.rows[0][0].as_f64().unwrap().to_bits(), bits);
        }

        #[test]
        fn pages_of_any_size_give_the_rows_in_order(
            sizes in prop::collection::vec(0u64..700, 1..8), step in 1u64..900
        ) {
            let folder = std::env::temp_dir();
            let mut results = Results::new();
            let mut total = 0;
            for size in sizes {
                results.table(batch(total, size), &folder, true).unwrap();
                total += size;
            }
            let mut seen = Vec::new();
            let mut offset = 0;
            loop {
                let page = results.page(offset, step).unwrap().unwrap();
                seen.extend(page.batch.rows);
                offset += step;
                if !page.more_kept { break; }
            }
            prop_assert_eq!(seen, batch(0, total).rows);
        }
    }

    #[test]
    fn output_keeps_its_beginning_and_its_end_and_counts_the_rest() {
        let mut output = Output::default();
        output.push("begin ");
        for _ in 0..100_000 {
            output.push("0123456789");
        }
        output.push(" end");
        let (text, dropped) = output.text();
        assert!(text.starts_with("begin 0123"));
        assert!(text.ends_with("6789 end"));
        let note = format!("\n… {dropped} bytes of output left out …\n");
        assert!(text.contains(&note));
        assert_eq!(
            text.len() - note.len() + usize::try_from(dropped).unwrap(),
            1_000_010
        );
    }

    #[test]
    fn what_begins_again_has_nothing_of_the_first_run_but_the_reason() {
        let folder = std::env::temp_dir();
        let mut results = Results::new();
        results.table(batch(0, 300), &folder, true).unwrap();
        results.text("printed");
        results.warning("of the first run".to_owned());
        results.begin_again("lost".to_owned());
        assert_eq!(results.page(0, 10).unwrap(), None);
        results.table(batch(0, 3), &folder, true).unwrap();
        assert_eq!(results.page(0, 10).unwrap().unwrap().kept_rows, 3);
        assert_eq!(results.output(), (String::new(), 0));
        assert_eq!(results.warnings(), ["lost"]);
    }

    #[test]
    fn python_s_second_table_stands_apart() {
        let folder = std::env::temp_dir();
        let mut results = Results::new();
        results.table(batch(0, 3), &folder, false).unwrap();
        results.table(batch(0, 500), &folder, false).unwrap();
        assert_eq!(results.page(0, 10).unwrap().unwrap().kept_rows, 3);
        assert_eq!(results.further()[0].rows.len(), FURTHER_ROWS);
        assert!(results.further()[0].truncated);
    }
}
