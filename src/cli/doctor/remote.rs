//! The checks of targets whose sessions outlive our process: the server, what may be spent there, the ledger and the
//! guardian. They open nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::{Check, Verdict};
use crate::app::remotes;
use crate::cli::{Context, words};
use crate::config::{self, Access, Loaded};
use crate::ledger::{Row, RowState, day_of, wall_now};
use crate::model::{Result, TargetName};
use crate::platform::Platform as _;

/// Asks the server who it is, which takes an address and a sign-in that work; opens nothing.
pub(super) async fn server(
    what: &str,
    name: &TargetName,
    settings: &config::Target,
    loaded: &Loaded,
    context: &Context,
    checks: &mut Vec<Check>,
) {
    let server = remotes::livy(name, settings, &context.secrets);
    let start = Instant::now();
    checks.push(match server.check().await {
        Ok(version) => Check::ok(
            what,
            format!("{version} answers after {}", words::took(start.elapsed())),
        ),
        Err(error) => Check::of_error(what, &error),
    });
    let url = settings.url.as_deref().unwrap_or_default();
    let secret =
        settings.auth.unwrap_or_default() != config::Auth::None || !settings.headers.is_empty();
    if url.starts_with("http://") && secret {
        checks.push(Check::new(
            Verdict::Warn,
            what,
            "its secret goes over the network unencrypted",
            format!("write `targets.{name}.url` with https:// if the server has TLS"),
        ));
    }
    let limits = &settings.limits;
    let life = humantime::format_duration(limits.life);
    let most = match server.capability().backstop {
        Some(backstop) => format!(
            "at most {} sessions, {life} each; the server itself ends one within {} of our last word",
            limits.sessions,
            humantime::format_duration(backstop)
        ),
        None => format!("at most {} sessions, {life} each", limits.sessions),
    };
    checks.push(Check::ok(what, most));
    if let Some(backstop) = server.capability().backstop {
        checks.push(Check::ok(what, ceiling(limits.sessions, backstop)));
    }
    checks.push(spent(what, name, limits.budget, loaded).await);
    let access = match loaded.settings.access(name) {
        Access::ReadOnly => "read-only: only SQL that reads runs there",
        Access::ReadWrite => "read-write: code runs there with the rights of the sign-in",
    };
    checks.push(Check::ok(what, access));
}

/// What sessions of a target have been open for today, beside what they may be.
async fn spent(what: &str, name: &TargetName, budget: Duration, loaded: &Loaded) -> Check {
    let seconds = async {
        let ledger = remotes::ledger_of(&loaded.paths)?;
        ledger.seconds(name, day_of(wall_now())).await
    };
    match seconds.await {
        Ok(seconds) => Check::ok(
            what,
            format!(
                "{} of {} session time used today (UTC)",
                humantime::format_duration(Duration::from_secs(seconds)),
                humantime::format_duration(budget)
            ),
        ),
        Err(error) => Check::of_error(what, &error),
    }
}

/// What can be spent when all of ours dies at once: each session until its server notices.
fn ceiling(sessions: usize, backstop: Duration) -> String {
    let count = u32::try_from(sessions).unwrap_or(u32::MAX);
    format!(
        "spending ceiling: should this machine die, {sessions} × {} = {} of session time at most",
        humantime::format_duration(backstop),
        humantime::format_duration(backstop.saturating_mul(count))
    )
}

/// The ledger, and whether a guardian can be started: without one no session is opened.
pub(super) async fn accounts(loaded: &Loaded, context: &Context, checks: &mut Vec<Check>) {
    let read = async {
        let ledger = remotes::ledger_of(&loaded.paths)?;
        Ok((ledger.rows().await?, ledger.warning()))
    };
    let read: Result<(Vec<Row>, Option<String>)> = read.await;
    match read {
        Err(error) => checks.push(Check::of_error("ledger", &error)),
        Ok((rows, warning)) => {
            checks.push(rows_of(&rows));
            checks.extend(warning.map(|text| Check::new(Verdict::Warn, "ledger", text, "")));
        }
    }
    checks.push(
        match remotes::try_guardian(loaded, &context.secrets).await {
            Ok(()) => Check::ok("guardian", "one was started, said READY and ended"),
            Err(error) => Check::of_error("guardian", &error),
        },
    );
}

fn rows_of(rows: &[Row]) -> Check {
    let there: Vec<&Row> = rows
        .iter()
        .filter(|row| row.state != RowState::Gone)
        .collect();
    let stuck: Vec<String> = there
        .iter()
        .filter(|row| row.stuck)
        .map(|row| match &row.last_error {
            Some(code) => format!("{} on {} ({code})", row.tag, row.target),
            None => format!("{} on {}", row.tag, row.target),
        })
        .collect();
    if stuck.is_empty() {
        let count = there.len();
        return Check::ok(
            "ledger",
            format!("remote sessions that may exist: {count}; none is stuck"),
        );
    }
    Check::new(
        Verdict::Warn,
        "ledger",
        format!(
            "remote sessions that may exist: {}; these cannot be deleted: {}",
            there.len(),
            stuck.join(", ")
        ),
        "repair the sign-in and run `sparklease sweep`; look on the service itself, then `sparklease sessions forget TAG --i-checked` gives one up",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_is_the_cap_times_the_server_s_own_backstop() {
        assert_eq!(
            ceiling(4, Duration::from_secs(180)),
            "spending ceiling: should this machine die, 4 × 3m = 12m of session time at most"
        );
    }
}
