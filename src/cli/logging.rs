//! Logs: to stderr, through the gate, without colours. Their text is no interface.

use std::io;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{self, Loaded, LogFormat};
use crate::gate::{Gate, Writer};

/// What other crates say below a warning is about themselves, not about sessions.
const OTHERS: &str = "warn";

/// Lines that wait for a slow reader of stderr; further ones are dropped rather than stop the server.
const WAITING_LINES: usize = 4_096;

/// Logging while it is held; dropped, it writes what still waits, for a second at most.
#[must_use]
pub(super) struct Logging {
    _writer: WorkerGuard,
}

/// Starts logging for this process; a second call changes nothing.
pub(super) fn start(loaded: &Loaded, gate: &Gate) -> Logging {
    let server = &loaded.settings.server;
    let filter = filter(&server.log);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .finish(io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(ToStderr {
            gate: gate.clone(),
            writer,
        });
    let _ = match server.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().finish()),
    };
    settings(loaded);
    Logging { _writer: guard }
}

/// A bare level is ours; a list is taken as it stands.
fn filter(log: &str) -> EnvFilter {
    let directives = if log.contains([',', '=']) {
        log.to_owned()
    } else if log.eq_ignore_ascii_case("off") {
        "off".to_owned()
    } else {
        format!("{OTHERS},sparklease={log}")
    };
    EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// The effective settings that are not the default, as the first line of the log.
fn settings(loaded: &Loaded) {
    let changed: Vec<String> = config::rows(loaded)
        .iter()
        .filter(|row| row.origin != "default")
        .map(|row| format!("{}={} ({})", row.key, row.text(), row.origin))
        .collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %loaded.paths.config.display(),
        changed = %changed.join(", "),
        "settings"
    );
}

struct ToStderr {
    gate: Gate,
    writer: NonBlocking,
}

impl<'a> MakeWriter<'a> for ToStderr {
    type Writer = Writer<NonBlocking>;

    fn make_writer(&'a self) -> Self::Writer {
        Writer::new(self.gate.clone(), self.writer.clone())
    }
}
