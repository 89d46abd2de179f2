//! The tour's real inputs: a CSV file of orders, the same in every run, or the user's own file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::model::{Code, Error, Result};

/// Enough for sums that differ, little enough to read.
const ORDERS: u64 = 400;

const COUNTRIES: [&str; 6] = ["DE", "FR", "IT", "NL", "PL", "SE"];
const PRODUCTS: [(&str, u64); 5] = [
    ("notebook", 420),
    ("desk lamp", 3_990),
    ("office chair, grey", 18_900),
    ("keyboard", 7_450),
    ("monitor 27\"", 24_900),
];

/// What the tour queries.
#[derive(Debug)]
pub(super) struct Input {
    /// The file.
    pub(super) path: PathBuf,
    /// The view's name in SQL.
    pub(super) view: &'static str,
    /// PySpark that reads it.
    pub(super) read: String,
    /// The user's own: its columns are not known.
    pub(super) own: bool,
}

/// Writes the orders into `folder`.
///
/// # Errors
/// `internal` where the folder cannot be written.
pub(super) fn orders(folder: &Path) -> Result<Input> {
    let path = folder.join("orders.csv");
    std::fs::write(&path, orders_csv()).map_err(|error| {
        Error::internal(format!("{} cannot be written: {error}", path.display()))
            .source_error(error)
    })?;
    Ok(Input {
        read: read_call("csv", &path),
        path,
        view: "orders",
        own: false,
    })
}

/// The user's file.
///
/// # Errors
/// `not_found`; `invalid_argument` for an ending that names no format.
pub(super) fn own(working: &Path, file: &Path) -> Result<Input> {
    let path = working.join(file).canonicalize().map_err(|error| {
        Error::new(
            Code::NotFound,
            format!("{} cannot be read: {error}", file.display()),
        )
        .hint("Name a CSV, JSON-lines or Parquet file.")
        .source_error(error)
    })?;
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let format = match ending.as_deref() {
        Some("csv") => "csv",
        Some("json" | "jsonl" | "ndjson") => "json",
        Some("parquet") => "parquet",
        _ => {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("{} has no ending that names a format", file.display()),
            )
            .hint("Name it .csv, .jsonl or .parquet."));
        }
    };
    Ok(Input {
        read: read_call(format, &path),
        path,
        view: "data",
        own: true,
    })
}

fn read_call(format: &str, path: &Path) -> String {
    let path = serde_json::Value::from(path.to_string_lossy());
    match format {
        "csv" => format!("spark.read.csv({path}, header=True, inferSchema=True)"),
        other => format!("spark.read.{other}({path})"),
    }
}

/// A year of orders. The numbers come from a generator with a fixed seed, so that every run shows the same.
fn orders_csv() -> String {
    let mut seed = 20_240_229_u64;
    let mut next = |below: u64| {
        // Knuth's MMIX constants; the high bits are the random ones.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut text = "order_id,ordered_on,country,product,quantity,amount\n".to_owned();
    for order in 1..=ORDERS {
        let (month, day) = (next(12) + 1, next(28) + 1);
        // The smaller of two: some countries buy more than others.
        let country = next(6).min(next(6));
        let (quantity, product) = (next(4) + 1, next(5));
        let pick = |at: u64| usize::try_from(at).unwrap_or_default();
        let country = COUNTRIES.get(pick(country)).copied().unwrap_or_default();
        let (product, cents) = PRODUCTS.get(pick(product)).copied().unwrap_or_default();
        let cents = cents * quantity;
        let product = if product.contains([',', '"']) {
            format!("\"{}\"", product.replace('"', "\"\""))
        } else {
            product.to_owned()
        };
        let _ = writeln!(
            text,
            "{order},2025-{month:02}-{day:02},{country},{product},{quantity},{}.{:02}",
            cents / 100,
            cents % 100
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_are_a_csv_file_with_the_same_values_in_every_run() {
        let text = orders_csv();
        assert_eq!(text, orders_csv());
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 400);
        let countries: std::collections::BTreeSet<&str> = rows.iter().map(|r| &r[2]).collect();
        assert_eq!(countries.into_iter().collect::<Vec<_>>(), COUNTRIES);
        assert!(rows.iter().any(|row| &row[3] == "monitor 27\""));
    }

    #[test]
    fn a_file_of_the_user_is_read_by_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.JSONL"), "{}").unwrap();
        std::fs::write(folder.path().join("a.txt"), "").unwrap();
        let input = own(folder.path(), Path::new("a.JSONL")).unwrap();
        assert!(
            input.read.starts_with("spark.read.json(\""),
            "{}",
            input.read
        );
        let code = |file: &str| own(folder.path(), Path::new(file)).unwrap_err().code();
        assert_eq!(
            (code("a.txt"), code("b.csv")),
            (Code::InvalidArgument, Code::NotFound)
        );
    }
}
