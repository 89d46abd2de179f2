//! Samples and the plain table that shows them. What is measured is not here.

use std::fmt::Write as _;
use std::time::Duration;

/// Times of one thing, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
        self.0.sort_by(f64::total_cmp);
    }

    /// The smallest value that at least `percent` of all do not exceed; NaN of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    fn cells(&self) -> [String; 4] {
        let least = self.0.first().copied().unwrap_or(f64::NAN);
        let most = self.0.last().copied().unwrap_or(f64::NAN);
        [
            millis(self.p50()),
            millis(self.percentile(95)),
            format!("{}–{}", millis(least), millis(most)),
            self.0.len().to_string(),
        ]
    }
}

/// Seconds as milliseconds, with as many digits as mean something.
fn millis(seconds: f64) -> String {
    let millis = seconds * 1e3;
    match millis {
        _ if millis.is_nan() => "-".to_owned(),
        _ if millis < 10.0 => format!("{millis:.2}"),
        _ if millis < 100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// Everything that was measured, in the order in which it is printed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Vec<String>>,
    goals: Vec<Vec<String>>,
}

impl Report {
    /// A pair that was measured by turns.
    pub(crate) fn pair(&mut self, what: &str, ours: &Sample, reference: (&str, &Sample)) {
        let ratio = format!("{:.2}", ours.p50() / reference.1.p50());
        self.line(what, ours, &ratio);
        self.line(&format!("  against {}", reference.0), reference.1, "1");
    }

    fn line(&mut self, what: &str, sample: &Sample, ratio: &str) {
        let [p50, p95, range, count] = sample.cells();
        self.rows.push(vec![
            what.to_owned(),
            p50,
            p95,
            range,
            count,
            ratio.to_owned(),
        ]);
    }

    /// A value without a spread.
    pub(crate) fn value(&mut self, what: &str, value: String, ratio: String) {
        let blank = String::new();
        self.rows.push(vec![
            what.to_owned(),
            value,
            blank.clone(),
            blank.clone(),
            blank,
            ratio,
        ]);
    }

    /// A goal: `measured` shall not exceed `limit`. Nothing fails when it does.
    pub(crate) fn goal(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        let holds = if measured <= limit { "holds" } else { "MISSED" };
        self.goals.push(vec![
            what.to_owned(),
            format!("{measured:.2}{unit}"),
            format!("≤ {limit}{unit}"),
            holds.to_owned(),
        ]);
    }

    /// The tables as text.
    pub(crate) fn render(&mut self) -> String {
        self.goals.sort();
        let heads = ["measured", "p50 ms", "p95 ms", "min–max ms", "n", "ratio"];
        let goals = ["goal", "measured", "limit", ""];
        format!(
            "{}\n{}",
            table(&heads, &self.rows),
            table(&goals, &self.goals)
        )
    }
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(width(column) - cell.chars().count());
            // Words to the left, numbers to the right.
            let _ = match column {
                0 => write!(text, "{cell}{pad}"),
                _ => write!(text, "  {pad}{cell}"),
            };
        }
        text.push('\n');
    }
    text
}
