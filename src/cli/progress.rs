//! How long work shows: a bar on a terminal, one plain line for each phase in a pipe. Always on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use super::output::Output;
use crate::model::{Progress, Result};

/// Steps of the bar: finer than a terminal is wide.
const STEPS: u64 = 1000;

/// How often the spinner turns: smooth to the eye, no load.
const TICK: Duration = Duration::from_millis(120);

/// The progress of one piece of long work. Dropped, it leaves no trace on a terminal.
pub(crate) struct Bar<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    phase: String,
}

impl<'a> Bar<'a> {
    /// Nothing is shown before the first [`Bar::show`].
    pub(crate) fn new(output: &'a Output) -> Self {
        let bar = (output.notes_on_terminal() && !output.is_quiet()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{spinner} {msg}"));
            bar
        });
        Self {
            output,
            bar,
            phase: String::new(),
        }
    }

    /// Shows where the work stands. In a pipe only a new phase is a new line.
    ///
    /// # Errors
    /// stderr cannot be written.
    pub(crate) fn show(&mut self, progress: &Progress) -> Result<()> {
        let new_phase = progress.phase != self.phase;
        if new_phase {
            self.phase.clone_from(&progress.phase);
        }
        let Some(bar) = &self.bar else {
            return if new_phase {
                self.output.note(&progress.phase)
            } else {
                Ok(())
            };
        };
        bar.set_message(self.output.redacted(&progress.phase));
        if let Some(fraction) = progress.fraction {
            if bar.length().is_none() {
                bar.set_length(STEPS);
                bar.set_style(style("{spinner} [{bar:30}] {percent:>3} % {msg}"));
            }
            bar.set_position(steps(fraction));
        }
        bar.enable_steady_tick(TICK);
        Ok(())
    }

    /// Shows what a reporter says until it is gone.
    ///
    /// # Errors
    /// stderr cannot be written.
    /// # Cancel safety
    /// Safe: dropped, it shows no more.
    pub(crate) async fn follow(
        mut self,
        mut said: watch::Receiver<Option<Progress>>,
    ) -> Result<()> {
        loop {
            let progress = said.borrow_and_update().clone();
            if let Some(progress) = progress {
                self.show(&progress)?;
            }
            if said.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A fraction of 0 to 1 as steps of the bar.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the bar's steps; not a number counts as none"
)]
fn steps(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 1.0) * 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::super::output::testing::{Kind, output};
    use super::*;

    #[test]
    fn a_pipe_gets_one_line_for_each_phase() {
        let (output, stdout, stderr) = output(Kind::default());
        let mut bar = Bar::new(&output);
        for (phase, fraction) in [("one", 0.0), ("one", 0.5), ("two clearly-fake-secret", 1.0)] {
            let progress = Progress {
                phase: phase.to_owned(),
                fraction: Some(fraction),
            };
            bar.show(&progress).unwrap();
        }
        assert_eq!(stderr.take(), "one\ntwo «redacted»\n");
        assert_eq!(stdout.take(), "");
    }

    #[tokio::test]
    async fn following_ends_with_its_reporter_and_shows_its_last_word() {
        let (output, _, stderr) = output(Kind::default());
        let (sender, receiver) = watch::channel(None);
        sender.send_replace(Some(Progress::phase("installing")));
        let follow = Bar::new(&output).follow(receiver);
        drop(sender);
        follow.await.unwrap();
        assert_eq!(stderr.take(), "installing\n");
    }

    #[test]
    fn steps_stay_within_the_bar() {
        assert_eq!(
            [-1.0, 0.0, 0.5, 1.0, 7.0, f64::NAN].map(steps),
            [0, 0, 500, 1000, 1000, 0]
        );
    }
}
