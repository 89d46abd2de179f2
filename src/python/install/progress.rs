//! Turns the lines of uv and pip, and what lies on the disk, into one bar that only grows. Runs nothing.

use std::path::{Path, PathBuf};

use super::run::Watch;
use super::words::without_userinfo;
use crate::model::Progress;

/// Compressed size of what is downloaded, about: pysail 63, pyarrow 55, numpy 17, pandas 13, matplotlib 10, all others 30 MB.
/// Only the bar's speed hangs on it.
const DOWNLOAD_BYTES: f64 = 188e6;

/// Where each step of the bar begins, by its share of 20 s with pip.
const DOWNLOAD_FROM: f64 = 0.05;
const INSTALL_FROM: f64 = 0.70;
const CHECK_FROM: f64 = 0.95;
/// A step shows no less than this: finer steps only cost notices.
const GRAIN: f64 = 0.005;

/// The bar of one installation.
pub(super) struct Meter<'a> {
    report: &'a (dyn Fn(Progress) + Send + Sync),
    phase: String,
    shown: f64,
    /// Announced by uv and not yet arrived: name, bytes.
    announced: Vec<(String, f64)>,
    arrived: f64,
    /// Where pip unpacks, and where packages end up.
    temporary: PathBuf,
    site_packages: Option<PathBuf>,
    packages: f64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(report: &'a (dyn Fn(Progress) + Send + Sync), packages: usize) -> Self {
        Self {
            report,
            phase: String::new(),
            shown: 0.0,
            announced: Vec::new(),
            arrived: 0.0,
            temporary: PathBuf::new(),
            site_packages: None,
            packages: f64::from(u32::try_from(packages).unwrap_or(u32::MAX)).max(1.0),
        }
    }

    /// A new attempt, which unpacks there. The bar stays where it is.
    pub(super) fn begin(&mut self, temporary: PathBuf) {
        self.temporary = temporary;
        self.site_packages = None;
        self.announced.clear();
        self.arrived = 0.0;
    }

    /// What the error of a deadline says was going on.
    pub(super) fn phase(&self) -> &str {
        &self.phase
    }

    /// From here on the packages come, and are counted there. The build back end before them is too small to move the bar.
    pub(super) fn installs_into(&mut self, site_packages: PathBuf) {
        self.site_packages = Some(site_packages);
    }

    pub(super) fn making_environment(&mut self, python: &str) {
        self.show(format!("preparing Python {python} for the engine"), 0.0);
    }

    pub(super) fn checking(&mut self) {
        self.show("checking the engine".to_owned(), CHECK_FROM);
    }

    pub(super) fn done(&mut self) {
        self.show("the engine is installed".to_owned(), 1.0);
    }

    fn downloading(&mut self, name: &str) {
        self.show(format!("downloading {name}"), self.downloaded());
    }

    fn downloaded(&self) -> f64 {
        let part = (self.arrived / DOWNLOAD_BYTES).min(1.0);
        DOWNLOAD_FROM + (INSTALL_FROM - DOWNLOAD_FROM) * part
    }

    fn show(&mut self, phase: String, at: f64) {
        let at = at.clamp(self.shown, 1.0);
        if phase == self.phase && at - self.shown < GRAIN {
            return;
        }
        self.phase = phase;
        self.shown = at;
        (self.report)(Progress {
            phase: self.phase.clone(),
            fraction: Some(at),
        });
    }
}

impl Watch for Meter<'_> {
    /// One line of uv or pip.
    fn line(&mut self, line: &str) {
        tracing::debug!(line = %without_userinfo(line), "installer");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // uv: "Downloading pyarrow (52.5MiB)", " Downloaded pyarrow"
            ["Downloading", name, size] => {
                let bytes = bytes(size);
                self.announced.push(((*name).to_owned(), bytes));
                self.downloading(name);
            }
            ["Downloaded", name] => {
                let bytes: f64 = self
                    .announced
                    .iter()
                    .filter(|(announced, _)| announced == name)
                    .map(|(_, bytes)| bytes)
                    .sum();
                self.announced.retain(|(announced, _)| announced != name);
                self.arrived += bytes;
                // The largest of those under way is what one waits for.
                let next = self
                    .announced
                    .iter()
                    .max_by(|a, b| a.1.total_cmp(&b.1))
                    .map_or_else(|| (*name).to_owned(), |(name, _)| name.clone());
                self.downloading(&next);
            }
            // pip: "Collecting pyarrow==26.0.1"
            ["Collecting", requirement, ..] => {
                let name = requirement.split("==").next().unwrap_or(requirement);
                self.downloading(name);
            }
            ["Building", "wheel", "for", name, ..] => {
                self.show(format!("building {name}"), self.shown);
            }
            ["Building", requirement] => {
                let name = requirement.split("==").next().unwrap_or(requirement);
                self.show(format!("building {name}"), self.shown);
            }
            ["Installing", "collected", ..] | ["Prepared", ..] if self.site_packages.is_some() => {
                self.show("installing the engine".to_owned(), INSTALL_FROM);
            }
            _ => {}
        }
    }

    /// Looks at the disk: bytes that pip has fetched, packages that are in place.
    fn tick(&mut self) {
        if self.shown < INSTALL_FROM {
            let fetched = archives_below(&self.temporary, 3);
            self.arrived = self.arrived.max(fetched);
            if fetched > 0.0 {
                self.show(self.phase.clone(), self.downloaded());
            }
        } else if let Some(folder) = &self.site_packages {
            let done = count_installed(folder) / self.packages;
            let at = INSTALL_FROM + (CHECK_FROM - INSTALL_FROM) * done.min(1.0);
            self.show(self.phase.clone(), at);
        }
    }
}

/// `(52.5MiB)` in bytes; 0 where it is not a size.
fn bytes(size: &str) -> f64 {
    let size = size.trim_matches(['(', ')']);
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match size.get(digits.len()..) {
        Some("KiB") => 1024.0,
        Some("MiB") => 1024.0 * 1024.0,
        Some("GiB") => 1024.0 * 1024.0 * 1024.0,
        Some("B") => 1.0,
        _ => 0.0,
    };
    digits.parse::<f64>().unwrap_or(0.0) * unit
}

/// Bytes of wheels and source archives in pip's temporary folders, which hold few files.
fn archives_below(folder: &Path, depth: usize) -> f64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0.0;
    };
    let mut sum = 0.0;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            if depth > 0 && entry.file_name().to_string_lossy().starts_with("pip-") {
                sum += archives_below(&path, depth - 1);
            }
        } else if path
            .extension()
            .is_some_and(|end| end == "whl" || end == "gz")
        {
            let bytes = entry.metadata().map_or(0, |data| data.len());
            sum += f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }
    sum
}

fn count_installed(site_packages: &Path) -> f64 {
    let Ok(entries) = std::fs::read_dir(site_packages) else {
        return 0.0;
    };
    let count = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
        .count();
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shown(lines: &[&str]) -> Vec<String> {
        let seen = Mutex::new(Vec::new());
        let report = |progress: Progress| {
            let percent = progress.fraction.unwrap() * 100.0;
            seen.lock()
                .unwrap()
                .push(format!("{percent:.0} {}", progress.phase));
        };
        let mut meter = Meter::new(&report, 24);
        meter.line("Collecting setuptools==84.2.1");
        meter.line("Installing collected packages: setuptools");
        meter.line("Prepared 1 package in 85ms");
        meter.installs_into(PathBuf::from("/nonexistent"));
        for line in lines {
            meter.line(line);
            meter.tick();
        }
        meter.checking();
        meter.done();
        seen.into_inner().unwrap()
    }

    #[test]
    fn the_bar_follows_uv_and_names_what_is_waited_for() {
        let lines = [
            "Resolved 24 packages in 213ms",
            "Downloading pyarrow (52.5MiB)",
            "Downloading kiwisolver (1.4MiB)",
            " Downloaded kiwisolver",
            " Downloaded pyarrow",
            "   Building pyspark-client==4.2.0",
            "Prepared 23 packages in 1.98s",
        ];
        assert_eq!(
            shown(&lines),
            [
                "5 downloading setuptools",
                "5 downloading pyarrow",
                "5 downloading kiwisolver",
                "6 downloading pyarrow",
                "25 downloading pyarrow",
                "25 building pyspark-client",
                "70 installing the engine",
                "95 checking the engine",
                "100 the engine is installed",
            ]
        );
    }

    #[test]
    fn the_bar_follows_pip() {
        let lines = [
            "Collecting pyarrow==26.0.1",
            "Building wheels for collected packages: pyspark-client",
            "  Building wheel for pyspark-client (pyproject.toml): started",
            "Installing collected packages: pytz, zstandard",
        ];
        assert_eq!(
            shown(&lines),
            [
                "5 downloading setuptools",
                "5 downloading pyarrow",
                "5 building pyspark-client",
                "70 installing the engine",
                "95 checking the engine",
                "100 the engine is installed",
            ]
        );
    }

    #[test]
    fn the_bar_follows_the_bytes_that_pip_fetches_and_the_packages_it_places() {
        let folder = tempfile::tempdir().unwrap();
        let unpack = folder.path().join("pip-unpack-a");
        let site = folder.path().join("site-packages");
        std::fs::create_dir_all(&unpack).unwrap();
        std::fs::create_dir_all(site.join("numpy-2.4.6.dist-info")).unwrap();
        let file = std::fs::File::create(unpack.join("pysail.whl")).unwrap();
        file.set_len(94_000_000).unwrap();
        let seen = Mutex::new(Vec::new());
        let report = |progress: Progress| {
            let percent = progress.fraction.unwrap() * 100.0;
            seen.lock().unwrap().push(format!("{percent:.1}"));
        };
        let mut meter = Meter::new(&report, 2);
        meter.begin(folder.path().to_owned());
        meter.installs_into(site);
        meter.tick();
        meter.line("Installing collected packages: numpy");
        meter.tick();
        assert_eq!(*seen.lock().unwrap(), ["37.5", "70.0", "82.5"]);
    }
}
